"""Where worker processes run: each on a core of its own, or each on a GPU of its own.

A process that uses a GPU takes most of its memory at once, so two on one GPU would not both start.
The driver of worker processes looks at the first GPU and leaves its memory alone.
"""

from __future__ import annotations

import os
import sys

from deleverage.errors import RunError

VISIBLE, PREALLOCATE = "CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_PREALLOCATE"

_given = os.environ.get(PREALLOCATE)


def worker_count(pending: int, backend: str = "cpu") -> int:
    """Workers by default: one a core or a GPU, and this process where there is only one unit.

    Args:
        pending: Units to run.
        backend: That of JAX.
    """
    return 0 if pending < 2 else min(places(backend), pending)


def places(backend: str) -> int:
    """How many processes can work at the same time on this machine."""
    if backend == "gpu":
        import jax

        return jax.local_device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def check_workers(workers: int, backend: str) -> None:
    """Refuse more processes than there are GPUs.

    Raises:
        RunError: There are fewer.
    """
    if backend == "gpu" and workers > (most := places(backend)):
        raise RunError(
            f"{workers} workers came for {most} GPUs, and a worker needs one for itself; "
            f"allowed is 0 to {most}: ask for fewer with `--workers`, or run on the processor with "
            "JAX_PLATFORMS=cpu."
        )


def leave_memory() -> None:
    """Have this process take memory of a GPU only as it needs it; before JAX starts."""
    os.environ.setdefault(PREALLOCATE, "false")


def environment(place: int) -> dict[str, str]:
    """Variables of a worker process.

    Args:
        place: Its number among the workers, from 0.
    """
    mine = {
        **os.environ,
        # XLA reads it when it starts, and ignores OMP_NUM_THREADS: one core a process.
        "NPROC": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    visible = os.environ.get(VISIBLE)
    if visible is None:
        mine[VISIBLE] = str(place)  # of no account where there is no GPU
    elif visible:
        names = visible.split(",")
        mine[VISIBLE] = names[place % len(names)]
    mine.pop(PREALLOCATE, None)
    return mine if _given is None else {**mine, PREALLOCATE: _given}
