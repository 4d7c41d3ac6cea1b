import equinox as eqx
import jax
import numpy as np
import pytest
from shock_worlds import full_world, macro, outage, sample, world

from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous

LEAVES = len(jax.tree.leaves(full_world()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_result_has_the_type_of_the_kernel_and_the_path_axis_last(dtype):
    _, inputs, coordinates = sample(full_world(), paths=16, dtype=dtype)
    assert inputs.log_fundamental.shape == (20, 4, 16)
    assert inputs.liquidity_drop.shape == (20, 16)
    assert inputs.gate_open.shape == (20, 2, 16)
    assert inputs.outage_start.shape == (2, 16)
    assert coordinates.severity.shape == coordinates.shock_time.shape == (16,)
    for values in jax.tree.leaves((inputs, coordinates)):
        assert values.dtype == dtype
    np.testing.assert_array_equal(coordinates.log_weight, 0)


def test_single_precision_agrees_with_double():
    single, double = (sample(full_world(), paths=16, dtype=dtype)[1:] for dtype in ("f4", "f8"))
    for one, two in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pegged_asset_follows_its_anchor_byte_for_byte(dtype):
    log_fundamental = sample(full_world(), paths=16, dtype=dtype)[1].log_fundamental
    assert np.ptp(log_fundamental[:, 2]) > 0.01
    assert log_fundamental[:, 3].tobytes() == log_fundamental[:, 2].tobytes()
    assert np.all(log_fundamental[:, 0] == 0)


def test_a_coarser_step_reads_the_same_path():
    fine = sample(full_world(step=0.5, steps=20), paths=16)
    coarse = sample(full_world(step=1.0, draw_step=0.5, steps=10), paths=16)
    np.testing.assert_array_equal(fine[0].diffusion, coarse[0].diffusion)
    for name in ("log_fundamental", "liquidity_drop", "gate_open"):
        every_other = getattr(fine[1], name)[1::2]
        assert every_other.tobytes() == getattr(coarse[1], name).tobytes()
    np.testing.assert_array_equal(fine[2].severity, coarse[2].severity)


def test_a_longer_run_begins_like_a_shorter_one():
    short = sample(full_world(), paths=16)[1].log_fundamental
    long = sample(full_world(steps=30), paths=16)[1].log_fundamental
    np.testing.assert_array_equal(long[:20], short)


def test_without_volatility_only_the_macro_shock_moves_prices():
    still = world(
        [[0.0], [0.0]],
        drift=np.array([0.0, 0.01]),
        macro=macro(2, a=0.3, start=1.0, loading=[1.0, 0.5], duration=1.0),
        steps=5,
    )
    _, inputs, coordinates = sample(still, paths=4)
    # ends of steps at 0.5 ... 2.5 minutes
    fallen = np.array([0, 0, 0.15, 0.3, 0.3])
    expected = np.stack([-fallen, -fallen / 2 + 0.01 * np.arange(1, 6) * 0.5], axis=1)
    np.testing.assert_allclose(
        inputs.log_fundamental, np.repeat(expected[..., None], 4, axis=-1), rtol=2e-6, atol=1e-8
    )
    np.testing.assert_allclose(coordinates.severity, 0.3, rtol=1e-6)
    np.testing.assert_array_equal(coordinates.shock_time, 1.0)


def test_a_quiet_world_stands_still():
    _, inputs, _ = sample(world(), paths=4)
    assert np.all(inputs.log_fundamental == 0)
    assert np.all(inputs.liquidity_drop == 0)


def test_new_values_trace_nothing_anew():
    traces = []

    @eqx.filter_jit
    def run(world, seed, first_path):
        traces.append(1)
        draws = draw(world, seed, first_path, 4, np.float32)
        return exogenous(world, draws, np.float32)

    first = run(full_world(), np.uint32(1), np.uint32(0))
    other = jax.tree.map(lambda leaf: leaf * 0.9, full_world())
    assert len(jax.tree.leaves(other)) == LEAVES
    second = run(other, np.uint32(2), np.uint32(2**32 - 4))
    run(
        full_world(
            outages=tuple(
                outage(v, r, 0.0, 9.0, 0.0) for v, r in ((0, False), (0, True), (1, True))
            )
        ),
        np.uint32(3),
        np.uint32(8),
    )
    assert len(traces) == 1
    assert np.all(np.asarray(first[0].log_fundamental != second[0].log_fundamental)[:, 1:])
    run(full_world(merton=None), np.uint32(1), np.uint32(0))  # another kind is another program
    assert len(traces) == 2
