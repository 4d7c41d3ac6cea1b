"""How fast the kernel runs on each GPU of this machine: `scripts/bench/gpu WORLD.npz`.

One process a device: the first compiles, then all measure at the same time, about two minutes.
Without a GPU it refuses; `--cpu` measures the processor instead, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_table import table

NEEDED = ("numpy", "jax", "equinox", "jaxtyping")
WORKER = Path(__file__).with_name("gpu_worker.py")
LOOK = "import jax; print(jax.default_backend(), jax.local_device_count())"
FOR_ALL = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(prog="scripts/bench/gpu", description=__doc__)
    arguments.add_argument("world", type=Path, metavar="WORLD.npz")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments.add_argument("--cpu", action="store_true", help="measure this processor instead")
    arguments.add_argument("--block", type=int, metavar="PATHS", help="default: by memory")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    arguments.add_argument("--fused", action="store_true", help="also the fused driver")
    options = arguments.parse_args()

    started = time.perf_counter()
    missing = [name for name in NEEDED if not is_there(name)]
    if missing:
        sys.exit(f"error: {sys.executable} has no {', '.join(missing)}; install what is missing.")
    if not options.world.is_file():
        sys.exit(
            f"error: there is no file {options.world}; make it with "
            "`deleverage export-world CONFIG WORLD.npz`."
        )
    with tempfile.TemporaryDirectory() as cache:  # else a second call would load, not compile
        fresh = {"DELEVERAGE_CACHE": cache}
        report = measured(options, [fresh | setting for setting in devices(options.cpu)])
    report["seconds"] = time.perf_counter() - started
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def is_there(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def devices(cpu: bool) -> list[dict[str, str]]:
    """Settings of a process for each device."""
    if cpu:
        return [{"JAX_PLATFORMS": "cpu"}]
    look = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    if look.returncode:
        sys.exit(f"error: JAX does not start: {look.stderr.strip().splitlines()[-1]}")
    backend, count = look.stdout.split()[-2:]
    if backend != "gpu":
        sys.exit(
            f"error: JAX sees no GPU here, only {backend}; install jax[cuda12] or jax[cuda13], "
            "or measure this processor with --cpu."
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(place) for place in range(int(count))]
    return [FOR_ALL | {"CUDA_VISIBLE_DEVICES": name} for name in names]


def measured(options: argparse.Namespace, settings: list[dict[str, str]]) -> dict[str, Any]:
    """What every device says, and the rate of all together."""
    workers: list[subprocess.Popen[str]] = []
    try:
        found = []
        for setting in settings:  # the first compiles, the others find it in the cache
            workers.append(start(options, setting))
            found.append(answer(workers[-1]))
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for report, worker in zip(found, workers, strict=True):
            report |= answer(worker)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    together = {
        name: sum(report[name]["path_policies_per_second"] for report in found)
        for name in ("scan", "storing")
    }
    return {"world": str(options.world), "devices": found, "path_policies_per_second": together}


def start(options: argparse.Namespace, settings: dict[str, str]) -> subprocess.Popen[str]:
    """A process for one device."""
    words = [str(options.world.resolve()), str(options.seconds), str(options.block or 0)]
    words.append("fused" if options.fused else "scan")
    return subprocess.Popen(
        [sys.executable, str(WORKER), *words],
        env=os.environ | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of a process."""
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        sys.exit(worker.wait() or 1)  # it has said why
    return json.loads(line)


if __name__ == "__main__":
    main()
