"""One device of the benchmark: `gpu_worker.py WORLD SECONDS BLOCK DRIVER`; needs JAX alone.

It compiles, says on a line of JSON what it found, waits for a line, measures and says the rest.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

import deleverage
from deleverage.engine import LANES, Simulator
from deleverage.engine.block import block_paths
from deleverage.engine.device import kernel_hash
from deleverage.engine.world_file import ExportedWorld, load_world
from deleverage.errors import DeleverageError

REPEATS = 5


class Exported:
    """An exported world as a plan of blocks."""

    timeline, paired = None, True

    def __init__(self, world: ExportedWorld, tile_paths: int, driver: str = "scan") -> None:
        self.groups, self.seed, self.dtype = world.groups, world.seed, world.dtype
        self.tile_paths, self.driver = tile_paths, driver


@jax.jit
def reduced(outcomes: dict[str, Any]) -> dict[str, Any]:
    """Mean, largest and number of undefined values by policy, `[..., lane]`, on the device."""

    def of(values: Any) -> dict[str, Any]:
        values = values.astype(jnp.float32)
        return {
            "mean": jnp.nanmean(values, axis=-1),
            "largest": jnp.nanmax(values, axis=-1),
            "undefined": jnp.sum(jnp.isnan(values), axis=-1),
        }

    return jax.tree.map(of, outcomes)


def main() -> None:
    """Serve the two questions of `gpu.py`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    file, seconds, block = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    world = load_world(file)
    paths = block or block_paths(world.groups, LANES, world.dtype)
    simulator = Simulator(Exported(world, paths))
    print(json.dumps(described(world, paths) | compiled(simulator)), file=answers, flush=True)
    sys.stdin.readline()
    fused = Simulator(Exported(world, paths, "fused")) if sys.argv[4] == "fused" else None
    rates: dict[str, Any] = {"fused": None}
    if fused is not None and fused.driver == "fused":
        rates["fused"] = compiled(fused) | on_device(fused, world, seconds)
    rates |= {"scan": on_device(simulator, world, seconds), "storing": storing(simulator, world)}
    print(json.dumps(rates | peaks() | {"peak_memory_mb": peak_memory()}), file=answers, flush=True)


def described(world: ExportedWorld, paths: int) -> dict[str, Any]:
    """Device, versions and size of the work."""
    device = jax.local_devices()[0]
    versions = {"python": sys.version.split()[0], "deleverage": deleverage.__version__}
    versions |= {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}
    layout = world.groups[0].world.layout
    return {
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "runtime": getattr(device.client, "platform_version", ""),
            "memory_mb": ((device.memory_stats() or {}).get("bytes_limit") or 0) / 1e6 or None,
        },
        "versions": versions,
        "kernel": kernel_hash(),
        "work": {
            "name": world.name,
            "policies": len(world.policies),
            "lanes": LANES,
            "programs": len(world.groups),
            "block_paths": paths,
            "steps": layout.steps,
            "cohorts": len(layout.books) * layout.buckets,
            "dtype": world.dtype,
        },
    }


def compiled(simulator: Simulator) -> dict[str, Any]:
    """Seconds of the first block beyond those of the second, and what XLA counts in the program."""
    first, second = (timed(lambda: simulator.on_device(0)) for _ in range(2))
    return {"compile_seconds": first - second, "cost": simulator.cost()}


def on_device(simulator: Simulator, world: ExportedWorld, seconds: float) -> dict[str, Any]:
    """Blocks one after the other, their outcomes reduced where they are."""

    def blocks(count: int) -> list[Any]:
        return [
            [reduced(outcomes) for _, outcomes in simulator.on_device(place * paths)]
            for place in range(count)
        ]

    paths = simulator.tile_paths
    timed(lambda: blocks(1))
    one = timed(lambda: blocks(1))
    count = max(1, round(seconds / REPEATS / one))
    spent = [timed(lambda: blocks(count)) for _ in range(REPEATS)]
    work = count * paths * len(world.policies)
    return {
        "paths": count * paths,
        "path_policies_per_second": work / statistics.median(spent),
        "slowest": work / max(spent),
        "fastest": work / min(spent),
    }


def storing(simulator: Simulator, world: ExportedWorld) -> dict[str, Any]:
    """A block from draws to files on disk, one an outcome, synced."""
    paths, policies = range(simulator.tile_paths), range(len(world.policies))
    stored = 0

    def block() -> None:
        nonlocal stored
        with tempfile.TemporaryDirectory() as folder:
            for name, values in simulator.simulate(policies, paths).items():
                with Path(folder, f"{name}.npy").open("wb") as file:
                    np.save(file, values)
                    file.flush()
                    os.fsync(file.fileno())
                stored += values.nbytes

    spent = [timed(block) for _ in range(2)]
    return {
        "path_policies_per_second": len(paths) * len(policies) / min(spent),
        "bytes": stored // 2,
    }


def peaks() -> dict[str, Any]:
    """What the device does at most: a matrix product in full precision, and a copy."""
    large = jax.default_backend() != "cpu"
    size, length = (8192, 2**28) if large else (1024, 2**24)
    matrix = jnp.full((size, size), 0.5, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    copy, source = jax.jit(lambda a: a + 1), jnp.zeros(length, jnp.float32)
    best = {
        name: min(timed(lambda: function(given)) for _ in range(REPEATS + 1))  # noqa: B023
        for name, function, given in (("operations", product, matrix), ("bytes", copy, source))
    }
    done = {"operations": 2 * size**3, "bytes": 2 * source.nbytes}
    return {"peak": {name: done[name] / seconds for name, seconds in best.items()}}


def peak_memory() -> float:
    """Most memory of the device in use, MB; on a CPU, of the process."""
    counted = jax.local_devices()[0].memory_stats() or {}
    used = counted.get("peak_bytes_in_use")
    return used / 1e6 if used else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def timed(work: Callable[[], Any]) -> float:
    """Seconds until all of it is there."""
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


if __name__ == "__main__":
    try:
        main()
    except DeleverageError as error:
        sys.exit(f"error: {error}")
