"""The stages stay lowerable: a fused driver could run the step inside one kernel on a GPU.

Each stage is traced, evaluated row by row (`rows.py`) and put into a Pallas kernel, which JAX
exports for CUDA on any machine: Mosaic GPU makes its module at export, so a primitive without a
lowering fails here. The same evaluation on a CPU gives the numbers of the stage as it is.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import REWRITES, PathEvaluator, from_rows, to_rows, trace
from worlds import random_world, stressed_world, tiny_world

from deleverage.cascade.backstop import absorb
from deleverage.cascade.books import rules_of
from deleverage.cascade.healing import heal
from deleverage.cascade.impact import execute, local_depth
from deleverage.cascade.index import Published, publish
from deleverage.cascade.maps import maps_of
from deleverage.cascade.margin_call import MarginCall, call_margin, margin_call, masks_of
from deleverage.cascade.prices import market_prices
from deleverage.cascade.settlement import settle
from deleverage.cascade.start import initial_state
from deleverage.cascade.step import StepInputs, step
from deleverage.cascade.trading import place_collateral_orders, place_perp_orders
from deleverage.cascade.worklist import Drive
from deleverage.engine.rows import pack
from deleverage.policy import VaultRules

PATHS = 128  # a warpgroup, one path a thread
MOSAIC_NEEDS = (0, 11)

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__[:2] < MOSAIC_NEEDS,
    reason=f"Mosaic GPU lowers what the stages use from JAX 0.11 on; this is {jax.__version__}",
)


WHOLE = Drive(one_by_one=False)  # no loop over cohorts: a kernel holds them all


class Stressed:
    """A world two steps into a crash, one random path a column: every stage has work."""

    def __init__(self, world: Any, policy: Any) -> None:
        rng = np.random.default_rng(7)
        self.layout = layout = world.layout
        self.maps = maps_of(layout)
        self.policy = jax.tree.map(
            lambda leaf: jnp.asarray(np.repeat(leaf[..., :1, None], PATHS, axis=-1), jnp.float32),
            policy,
        )
        self.rules = rules_of(layout, self.maps.facts, self.policy)
        assets = len(layout.assets)
        fall = rng.uniform(0.0, 0.5, (assets, 1, PATHS)) * rng.integers(0, 2, PATHS)
        fall[0] = 0
        fall[list(layout.pegged)] *= 0.2
        gates = rng.integers(0, 2, (len(layout.venues), 1, PATHS))
        self.inputs = StepInputs(
            fundamental=jnp.exp(-jnp.asarray(fall, jnp.float32)),
            liquidity_drop=jnp.asarray(rng.uniform(0.0, 0.9, (1, PATHS)), jnp.float32),
            gate_open=jnp.asarray(gates, jnp.float32),
            t=jnp.int32(0),
        )
        self.state = initial_state(layout, self.policy, PATHS, WHOLE)
        one_step = jax.jit(lambda p, s, i: step(layout, p, s, i, WHOLE))
        self.state, self.flows = one_step(self.policy, self.state, self.inputs)
        # prices move on: at the same prices, those paid off are worth a rounding of zero
        moved = jnp.exp(-1.2 * jnp.asarray(fall, jnp.float32))
        self.inputs = dataclasses.replace(self.inputs, fundamental=moved, t=jnp.int32(1))
        self.price = self.flows.closing_price * 0.97
        self.depth = local_depth(self.policy.impact, self.inputs.liquidity_drop)
        self.published = Published(
            self.flows.index_price, self.flows.mark_price, self.flows.fair_price, None, None
        )
        self.call = call_margin(
            self.maps,
            self.rules,
            self.state.accounts,
            self.published,
            self.inputs.gate_open,
            None,
            WHOLE,
        )


def stages(world: Stressed) -> dict[str, tuple[Callable[..., Any], tuple]]:
    """Every stage by name, as a function of arrays that end in the path axis, and those arrays."""
    w, layout, maps, minutes = world, world.layout, world.maps, world.layout.step
    state, policy, given, published = w.state, w.policy, w.inputs, w.published
    marks, sold, units = w.call.marks, state.orders, w.flows.perp_units_sold

    def called(marks: Any) -> MarginCall:
        return margin_call(maps, marks)

    def rules(policy: Any) -> Any:
        return rules_of(layout, maps.facts, policy)

    def margins(policy: Any, accounts: Any, published: Any, gate: Any) -> Any:
        call = call_margin(maps, rules(policy), accounts, published, gate, None, WHOLE)
        return masks_of(call.marks), call.margin_gap

    def perp_orders(
        policy: Any, accounts: Any, orders: Any, marks: Any, seen: Any, price: Any, gate: Any
    ) -> Any:
        call, book = called(marks), rules(policy)
        return place_perp_orders(
            book, accounts, orders, call, seen, price, gate, minutes, WHOLE, 0 * price
        )

    def collateral_orders(
        policy: Any, accounts: Any, orders: Any, marks: Any, seen: Any, price: Any
    ) -> Any:
        call, book = called(marks), rules(policy)
        return place_collateral_orders(
            book, accounts, orders, call, seen, price, price, minutes, WHOLE, 0 * price
        )

    def settled(
        policy: Any, accounts: Any, orders: Any, deficit: Any, marks: Any, seen: Any, price: Any
    ) -> Any:
        call, book, prices = called(marks), rules(policy), (price, 0.99 * price, 0.98 * price)
        return settle(maps, book, accounts, orders, deficit, call, seen, *prices, WHOLE)

    def bankruptcies(
        policy: Any, settled: Any, marks: Any, markets: Any, fund: Any, price: Any
    ) -> Any:
        backstop, book = policy.backstop, rules(policy)
        return absorb(
            maps, backstop, book, settled, called(marks), markets, fund, price, WHOLE
        )

    def whole(policy: Any, state: Any, given: Any) -> Any:
        after, flows = step(layout, policy, state, given, WHOLE)
        # where a loop would go, no number of a path
        return after, dataclasses.replace(flows, any_orders=None, sells=None)

    found = settled(policy, state.accounts, sold, state.deficit, marks, published, w.price)
    return {
        "prices": (
            lambda f, y: market_prices(maps, f, y),
            (given.fundamental, state.markets.displacement),
        ),
        "index": (
            lambda r, m, p, f, t: publish(layout, maps, r, m, p, f, t),
            (policy.index, state.markets, w.price, given.fundamental, given.t),
        ),
        "margin": (margins, (policy, state.accounts, published, given.gate_open)),
        "perp_orders": (
            perp_orders,
            (policy, state.accounts, sold, marks, published, w.price, given.gate_open),
        ),
        "collateral_orders": (
            collateral_orders,
            (policy, state.accounts, sold, marks, published, w.price),
        ),
        "impact": (
            lambda r, drop, p, q: execute(local_depth(r, drop), p, q),
            (policy.impact, given.liquidity_drop, w.price, units),
        ),
        "healing": (
            lambda r, d, y, g: heal(layout, maps, r, d, y, g),
            (policy.healing, w.depth, state.markets.displacement + 0.01, given.gate_open),
        ),
        "settlement": (
            settled,
            (policy, state.accounts, sold, state.deficit, marks, published, w.price),
        ),
        "bankruptcies": (
            bankruptcies,
            (policy, found, marks, state.markets, state.fund, w.price),
        ),
        "step": (whole, (policy, state, given)),
    }


NAMES = (
    "prices",
    "index",
    "margin",
    "perp_orders",
    "collateral_orders",
    "impact",
    "healing",
    "settlement",
    "bankruptcies",
    "step",
)


@pytest.fixture(scope="module")
def tiny() -> Stressed:
    return Stressed(*stressed_world())


@pytest.fixture(scope="module")
def richer() -> Stressed:
    return Stressed(*random_world(3, policies=1))


def flattened(function: Callable[..., Any], arguments: tuple) -> tuple[Any, list[Any]]:
    """As a function of leaves, and those."""
    leaves, structure = jax.tree.flatten(arguments)

    def flat(*leaves: Any) -> list[Any]:
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))

    return flat, leaves


def assert_same(flat: Callable[..., Any], leaves: list[Any]) -> None:
    closed = trace(flat, leaves, PATHS)
    results = PathEvaluator((PATHS,)).evaluate(closed, [to_rows(np.asarray(x)) for x in leaves])
    whole = jax.jit(flat)(*leaves)
    for rows, aval, expected in zip(results, closed.out_avals, whole, strict=True):
        result = np.asarray(from_rows(rows, aval, PATHS), float)
        expected = np.asarray(expected, float)
        scale = np.max(np.abs(expected), initial=1e-3, where=np.isfinite(expected))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_rows_give_the_numbers_of_the_stage(tiny, name):
    assert_same(*flattened(*stages(tiny)[name]))


def test_rows_give_the_numbers_of_a_step_with_every_kind(richer):
    assert_same(*flattened(*stages(richer)["step"]))


def test_rows_give_the_numbers_of_a_step_with_a_vault():
    world = Stressed(
        *tiny_world(
            impact__depth=400.0,
            liquidation__pace=1.0,
            vault=VaultRules(np.array([[20.0], [0.0]]), np.array([[1.0], [1e30]])),
        )
    )
    assert np.any(np.asarray(world.flows.losses.vault_taken) > 0)  # and is worked off from here
    assert_same(*flattened(*stages(world)["step"]))


def test_the_stressed_world_has_work_for_every_stage(tiny):
    flows = tiny.flows
    due = np.asarray(flows.is_due)
    assert np.any(due[:2])  # margined books
    assert np.any(due[2])  # loans
    assert not np.all(due)
    for name in ("bad_debt", "insurance_drawn", "adl_loss", "socialised_loss"):
        assert np.any(np.asarray(getattr(flows.losses, name)) > 0), name
    assert np.any(np.asarray(flows.topped_up) > 0)


@pytest.mark.parametrize("name", ["expm1", "is_finite", "log1p"])
def test_rewrites_give_what_they_replace(name):
    x = np.concatenate([np.linspace(-0.9, 3.0, 4001), [1e-7, -1e-7, 1e-30, 0.0, -0.5, 0.5]])
    x = jnp.asarray(x, jnp.float32)
    original = {"expm1": jnp.expm1, "log1p": jnp.log1p, "is_finite": jnp.isfinite}[name]
    x = jnp.append(x, jnp.array([jnp.inf, jnp.nan], jnp.float32)) if name == "is_finite" else x
    np.testing.assert_allclose(REWRITES[name](x), original(x), rtol=5e-7)


def export_for_cuda(flat: Callable[..., Any], leaves: list[Any]) -> Any:
    """One kernel: the inputs as rows of a matrix in, the outputs as rows of a matrix out."""
    from jax.experimental.pallas import mosaic_gpu as plgpu

    closed, evaluator = trace(flat, leaves, PATHS), PathEvaluator((PATHS,))
    arrays = [leaf for leaf in leaves if np.ndim(leaf)]
    scalars = [leaf for leaf in leaves if not np.ndim(leaf)]
    sizes = [int(np.prod(leaf.shape[:-1])) for leaf in arrays]
    outputs = sum(int(np.prod(aval.shape[:-1])) for aval in closed.out_avals)

    def kernel(numbers: Any, matrix: Any, result: Any) -> None:
        here = iter(range(sum(sizes)))
        counts = iter(range(len(scalars)))
        arguments = []
        for leaf in leaves:
            rows = []
            for _ in range(int(np.prod(leaf.shape[:-1]))):
                row = matrix[next(here)] if leaf.ndim else numbers[next(counts)]
                rows.append(row > 0 if leaf.dtype == bool else row)
            arguments.append(pack(rows, leaf.shape[:-1]))
        place = 0
        results = evaluator.evaluate(closed, arguments)
        for rows, aval in zip(results, closed.out_avals, strict=True):
            for row in rows.ravel():
                if aval.dtype == bool:
                    one, nil = (jnp.full((PATHS,), v, jnp.float32) for v in (1, 0))
                    row = jnp.where(row, one, nil)
                value = row if np.ndim(row) else jnp.full((PATHS,), row, jnp.float32)
                result[place] = value
                place += 1

    out = jax.ShapeDtypeStruct((max(outputs, 1), PATHS), jnp.float32)
    renamed = "out_type" in inspect.signature(plgpu.kernel).parameters  # since JAX 0.12
    launch = plgpu.kernel(
        kernel,
        **{"out_type" if renamed else "out_shape": out},
        # one path a thread needs no inference of layouts, which is quadratic in operations
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Lane),
    )
    return jax.export.export(jax.jit(launch), platforms=["cuda"])(
        jax.ShapeDtypeStruct((max(len(scalars), 1),), jnp.int32),
        jax.ShapeDtypeStruct((max(sum(sizes), 1), PATHS), jnp.float32),
    )


@needs_mosaic
@pytest.mark.parametrize("name", NAMES)
def test_stages_lower_into_a_kernel_for_cuda(tiny, name):
    exported = export_for_cuda(*flattened(*stages(tiny)[name]))
    assert exported.platforms == ("cuda",)
    assert "mosaic_gpu" in exported.mlir_module()


@needs_mosaic
def test_what_has_no_lowering_is_found(tiny, monkeypatch):
    """Without its rewrite expm1 reaches Mosaic GPU, which has no rule for it."""
    monkeypatch.delitem(REWRITES, "expm1")
    with pytest.raises(NotImplementedError, match="expm1"):
        export_for_cuda(*flattened(*stages(tiny)["impact"]))
