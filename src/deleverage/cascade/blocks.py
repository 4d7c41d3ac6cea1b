"""The rules of each block of books, cut out of a policy once, before the time loop."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from jax import Array

from deleverage.cascade.maps import Block, Maps
from deleverage.policy import Books, LiquidationRules, MarginRules, Policy, TopUpRules


class BlockRules(eqx.Module):
    """What a policy says to one block: leaves as in `policy.py`, only its books and slots."""

    books: Books
    margin: MarginRules
    baseline_margin: MarginRules
    top_up: TopUpRules
    liquidation: LiquidationRules


def split_by_block(policy: Policy, maps: Maps) -> tuple[BlockRules, ...]:
    """One `BlockRules` per block of the layout, in the order of `maps.blocks`."""
    return tuple(_cut(policy, block) for block in maps.blocks)


def _cut(policy: Policy, block: Block) -> BlockRules:
    places = np.array(block.books)

    def books(leaf: Array) -> Array:
        return leaf[places]

    def perps(leaf: Array) -> Array:
        return leaf[: block.perps][..., places, :, :]

    def collaterals(leaf: Array) -> Array:
        return leaf[: block.collaterals][..., places, :, :]

    def margin(rules: MarginRules) -> MarginRules:
        return MarginRules(
            rate=perps(rules.rate),
            deduction=perps(rules.deduction),
            ratio=collaterals(rules.ratio),
            addition=collaterals(rules.addition),
            loan_rate=books(rules.loan_rate),
        )

    start = policy.books
    return BlockRules(
        books=Books(
            position=perps(start.position),
            entry=perps(start.entry),
            collateral=collaterals(start.collateral),
            cash=books(start.cash),
            accounts=books(start.accounts),
            budget=books(start.budget),
        ),
        margin=margin(policy.margin),
        baseline_margin=margin(policy.baseline_margin),
        top_up=jax.tree.map(books, policy.top_up),
        liquidation=jax.tree.map(books, policy.liquidation),
    )
