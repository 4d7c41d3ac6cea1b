"""Stage 10, forced sales: who was sold, how much, and was it right? MODEL.md 2.10."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.flows import Flows
from deleverage.cascade.maps import Block, Maps
from deleverage.cascade.margin import Assessment, SlotPrices, assess
from deleverage.cascade.primitives import any_true, gather, spread, total
from deleverage.state import Accounts


class ForcedSales(NamedTuple):
    """Forced sales of one step, USD millions `[path]` unless said."""

    liquidated: list[Array]  # per block [B, K, path] bool: ever so far
    units_by_market: Array  # [M, path] at starting prices
    long_notional: Array
    collateral_sold: Array  # [A, path] proceeds
    wrongful_index: Array
    wrongful_margin: Array
    compensation: Array
    selling: Array  # positive where a due cohort sold anything


def fair_prices(block: Block, fair_price: Array) -> SlotPrices:
    """Redemption or reference prices of a block's slots, as index and as mark."""
    return SlotPrices(spread(block.collateral, fair_price), spread(block.underlying, fair_price))


def forced_sales(
    maps: Maps,
    blocks: Sequence[BlockRules],
    accounts: Sequence[Accounts],
    flows: Flows,
    fails_baseline: list[Array],
    liquidated: list[Array],
) -> ForcedSales:
    """Add up what the step's orders sold; nothing is computed in a step without sales.

    Args:
        maps: Relations of the layout.
        blocks: Rules per block.
        accounts: At the start of the step.
        flows: Of the step.
        fails_baseline: Per block, fair equity below the baseline's requirement.
        liquidated: Per block, cohorts ever liquidated before.

    Source: MODEL.md section 2.10.
    """
    sold = any_true([units != 0 for units in flows.contracts_closed + flows.collateral_sold])

    def count() -> ForcedSales:
        seen = [
            _block_sales(*each)
            for each in zip(
                maps.blocks, blocks, accounts, *_per_block(flows), fails_baseline, strict=True
            )
        ]

        def everyone(name: str) -> Array:
            return gather(maps.everybody, [s[name] for s in seen])[0]

        return ForcedSales(
            liquidated=[
                before | (s["forced"] > 0) for before, s in zip(liquidated, seen, strict=True)
            ],
            units_by_market=gather(maps.orders_perp, [s["perp_units"] for s in seen])
            + gather(maps.orders_collateral, [s["loan_units"] for s in seen]),
            long_notional=everyone("long_notional"),
            collateral_sold=gather(maps.assets_collateral, [s["proceeds"] for s in seen]),
            wrongful_index=everyone("wrongful_index"),
            wrongful_margin=everyone("wrongful_margin"),
            compensation=everyone("compensation"),
            selling=everyone("selling"),
        )

    def nothing() -> ForcedSales:
        none = jnp.zeros_like(flows.price[0])
        assets = jnp.zeros((maps.market_asset.shape[1], none.shape[-1]), none.dtype)
        return ForcedSales(
            liquidated, jnp.zeros_like(flows.price), none, assets, none, none, none, none
        )

    return jax.lax.cond(sold, count, nothing)


def _per_block(flows: Flows) -> tuple:
    count = len(flows.is_due)
    prices = [(flows.price, flows.average_price, flows.fair_price)] * count
    return flows.margins, flows.is_due, flows.contracts_closed, flows.collateral_sold, prices


def _block_sales(
    block: Block,
    rules: BlockRules,
    accounts: Accounts,
    margin: Assessment,
    due: Array,
    closed: Array,
    sold: Array,
    prices: tuple[Array, Array, Array],
    fails_baseline: Array,
) -> dict[str, Array]:
    """Forced notional of each cohort, and what of it was wrongful."""
    price, average_price, fair_price = prices
    perp_units = jnp.abs(closed)
    loan_units = jnp.where(due, sold, 0) if block.is_loan else jnp.zeros_like(sold)
    perp_notional = perp_units * spread(block.market, price)
    loan_notional = total(loan_units * spread(block.sale, price))
    forced = total(perp_notional) + loan_notional
    average = spread(block.sale, average_price)

    fair = fair_prices(block, fair_price)
    fails_policy = assess(rules.margin, rules.books, accounts, fair).is_short_of_margin
    wrongful = margin.is_short_of_margin & ~accounts.taken_over & ~fails_baseline
    wrongly_forced = jnp.where(wrongful, forced, 0)
    owed = jnp.where(block.pegged, sold * jnp.maximum(fair.collateral - average, 0), 0)
    longs = jnp.where(rules.books.position > 0, perp_notional, 0)
    return {
        "perp_units": perp_units,
        "loan_units": loan_units,
        "forced": forced,
        "long_notional": total(longs) + loan_notional,
        "proceeds": sold * average,
        "selling": forced + jnp.where(due, total(sold), 0),
        "wrongful_index": jnp.where(fails_policy, 0, wrongly_forced),
        "wrongful_margin": jnp.where(fails_policy, wrongly_forced, 0),
        "compensation": jnp.where(wrongful, total(owed), 0),
    }
