"""The fused driver: one kernel for all steps gives what the scan over steps gives.

On any machine the kernel's own program runs as operations of XLA (Pallas' interpret mode), and is
lowered for CUDA. No GPU is needed, and none of this says how fast it is on one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import kernel
import numpy as np
import pytest
from small_runs import SMALL, SMOKE
from worlds import TINY_LAYOUT, random_draws, stressed_world

from deleverage.config import build, load_config
from deleverage.engine import Simulator
from deleverage.engine.fused import THREADS
from deleverage.engine.program import run_paths
from deleverage.engine.rows import PATHS as PATH_AXIS
from deleverage.engine.rows import Evaluator, Unlowered
from deleverage.errors import RunError

BUCKETS = 4
PATHS = THREADS // BUCKETS
TRITON = "__gpu$xla.gpu.triton"


def crash(dtype: str, buckets: int = BUCKETS, paths: int = PATHS) -> tuple[Any, Any, Any]:
    """Layout, policy and series of a crash that reaches every stage, a path a size of it."""
    world, policy = stressed_world()
    layout = dataclasses.replace(TINY_LAYOUT, buckets=buckets)

    def widened(leaf: np.ndarray) -> np.ndarray:
        if leaf.shape[-2] == 1:
            return leaf
        return np.concatenate([leaf, *[leaf[..., :1, :]] * (buckets - leaf.shape[-2])], axis=-2)

    policy = dataclasses.replace(policy, books=jax.tree.map(widened, policy.books))
    draws = random_draws(world, paths, 1)
    cast = kernel.cast
    inputs, _ = kernel._exogenous(cast(world, dtype), cast(draws, dtype), dtype)
    steps = np.arange(1, layout.steps + 1)[:, None, None] / layout.steps
    size = np.linspace(0.05, 0.5, paths)
    fall = steps * size * np.array([0.0, 1.0, 0.2])[:, None]
    given = dataclasses.replace(inputs, log_fundamental=np.asarray(-fall, dtype))
    return layout, cast(policy, dtype), given


def outcomes(case: tuple[Any, Any, Any], dtype: str, driver: str) -> dict[str, np.ndarray]:
    layout, policy, inputs = case

    @eqx.filter_jit
    def run(policy: Any, inputs: Any) -> dict[str, Any]:
        watched = np.zeros(2, np.int32)
        return run_paths(layout, policy, inputs, watched, np.dtype(dtype), False, driver=driver)[0]

    return jax.tree.map(np.asarray, run(policy, inputs))


# what the orders of sums over buckets leave between the two: a few roundings
@pytest.mark.parametrize(
    ("dtype", "error"),
    [("float64", 1e-11), pytest.param("float32", 1e-4, marks=pytest.mark.slow)],
)
def test_the_kernel_gives_what_the_scan_gives(dtype, error):
    with jax.enable_x64(dtype == "float64"):
        case = crash(dtype)
        scan, fused = (outcomes(case, dtype, driver) for driver in ("scan", "interpreted"))
    assert scan.keys() == fused.keys()
    for name in ("liquidated_notional", "bad_debt", "adl_notional", "insurance_drawn"):
        assert np.mean(scan[name] > 0) > 0.2, name
    assert len(np.unique(scan["trough_price"][0])) > PATHS // 2
    for name, values in scan.items():
        if name in ("trough_time", "peak_time"):  # which jump where two steps tie
            continue
        size = np.max(np.abs(values), initial=1e-3, where=np.isfinite(values))
        np.testing.assert_allclose(
            fused[name].astype(float),
            values.astype(float),
            rtol=error,
            atol=error * float(size),
            err_msg=name,
        )


@pytest.mark.skipif(
    jax.__version_info__[:2] > (0, 10),
    reason=f"JAX {jax.__version__} compiles Triton kernels as it lowers them, which needs CUDA",
)
def test_the_kernel_lowers_for_cuda():
    layout, policy, inputs = crash("float32", paths=4 * PATHS)
    leaves, structure = jax.tree.flatten((policy, inputs))

    def run(*leaves: Any) -> dict[str, Any]:
        policy, inputs = jax.tree.unflatten(structure, leaves)
        watched = np.zeros(2, np.int32)
        return run_paths(layout, policy, inputs, watched, np.dtype("float32"), driver="fused")[0]

    unstable = jax.export.DisabledSafetyCheck.custom_call(TRITON)
    export = jax.export.export(jax.jit(run), platforms=["cuda"], disabled_checks=[unstable])
    text = export(*leaves).mlir_module()
    assert text.count(f"@{TRITON}") == 2  # with feedback and without
    assert "grid_y = 4 : i32" in text
    assert "stablehlo.while" not in text  # no step is left outside of a kernel


def test_sizes_that_fill_no_block_are_refused():
    for buckets, paths in ((3, PATHS), (BUCKETS, PATHS + 1)):
        case = crash("float32", buckets, paths)
        with pytest.raises(Unlowered, match=f"{buckets} buckets and {paths} paths make no blocks"):
            outcomes(case, "float32", "interpreted")


def test_operations_that_no_kernel_has_are_refused():
    def sorted_buckets(values: Any) -> Any:
        return jax.numpy.sort(values, axis=0)

    closed = jax.make_jaxpr(sorted_buckets)(jax.ShapeDtypeStruct((3, PATH_AXIS), np.float32))
    with pytest.raises(Unlowered, match="no rule for sort"):
        Evaluator((1, THREADS)).evaluate(closed, [np.zeros(3, object)])


def test_where_it_cannot_run_one_note_says_so_and_scan_runs():
    built = build(load_config(SMOKE, (*SMALL, "engine.driver=fused")))
    with pytest.warns(UserWarning, match=r"fused cannot run here: it needs a GPU.*; scan runs"):
        simulator = Simulator(built)
    assert simulator.driver == "scan"
    assert simulator.fingerprint()["driver"] == "scan"
    assert simulator.fingerprint() == Simulator(build(load_config(SMOKE, SMALL))).fingerprint()


def test_what_fits_no_kernel_is_found_before_anything_runs(monkeypatch):
    built = build(load_config(SMOKE, (*SMALL, "engine.driver=fused")))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.warns(UserWarning, match=r"cannot run here: 3 buckets and 8 paths make no blocks"):
        assert Simulator(built).driver == "scan"
    timeline = build(load_config(SMOKE, (*SMALL, "engine.driver=fused", "results.timeline=true")))
    with pytest.warns(UserWarning, match="it makes no histograms"):
        assert Simulator(timeline).driver == "scan"
    overrides = (*SMALL, "engine.driver=fused", "scenario.buckets=4", "engine.tile_paths=32")
    fused = Simulator(build(load_config(SMOKE, overrides)))
    assert fused.driver == fused.fingerprint()["driver"] == "fused"
    with pytest.raises(RunError, match="keeps no record of steps"):
        fused.watch(0, 0)
