"""Settings that every test shares; they are made before JAX is imported."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# One backend for all tests, also where there is a GPU: xdist's workers would fight for its memory.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compilation dwarfs an example, so no deadline; the same examples every time, so that a failure
# is not luck.
hypothesis.settings.register_profile("deleverage", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("deleverage")

MOST_MAPPINGS = 20_000
"""Of memory, that a process keeps from one test file to the next. A compiled program has dozens,
and Linux allows a process 65,530: beyond them the compiler dies of a segmentation fault."""


@pytest.fixture(scope="module", autouse=True)
def _let_go_of_programs() -> Iterator[None]:
    """Compiled programs that no fixture holds are dropped once there are very many."""
    yield
    if "jax" not in sys.modules or _mappings() <= MOST_MAPPINGS:
        return
    import jax

    from deleverage.engine import programs

    programs._held.clear()
    jax.clear_caches()
    gc.collect()


def _mappings() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:  # no Linux, and no such limit
        return 0
