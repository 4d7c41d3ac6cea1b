"""One process compiles a program, the others wait and load it from the cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox
import jax
import numpy as np

from deleverage.engine.device import processor


def program_name(fingerprint: dict[str, Any], arguments: Any) -> str:
    """What a program is called among processes that may share it; no two that differ share one.

    Args:
        fingerprint: Of backend, versions and sources.
        arguments: Of the call: structure, shapes and types count, and what is no array itself.
    """
    leaves = jax.tree.leaves(arguments)
    shapes = [
        (leaf.shape, str(leaf.dtype)) if isinstance(leaf, np.ndarray | np.generic) else leaf
        for leaf in leaves
    ]
    return name_of(fingerprint, jax.tree.structure(arguments), shapes)


def name_of(*parts: Any) -> str:
    """A name for what these parts make on this machine, by their `repr`."""
    versions = [module.__version__ for module in (jax, equinox, np)]
    # settings of JAX that change a program; where caches lie does not
    settings = {name: value for name, value in jax.config.values.items() if "cache" not in name}
    options = (jax.device_count(), os.environ.get("XLA_FLAGS"), processor(), versions)
    text = repr((parts, options, settings))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def compile_once(folder: Path | None, name: str) -> Iterator[None]:
    """Around the first call of a program: nobody else compiles it meanwhile.

    A program that some process has compiled already keeps nobody waiting. The lock is the
    operating system's, so a process that dies in between lets the next one compile.

    Args:
        folder: Of the cache; None: there is none, and every process compiles for itself.
        name: Of the program.
    """
    done = None if folder is None else folder / "programs" / f"{name}.done"
    if done is None or done.exists():
        yield
        return
    with contextlib.ExitStack() as held:
        _lock(done.with_suffix(".lock"), held)
        if done.exists():
            held.close()  # it is in the cache by now: all who waited load it side by side
            yield
            return
        yield
        with contextlib.suppress(OSError):
            done.touch()


def _lock(path: Path, held: contextlib.ExitStack) -> None:
    """Lock a file until `held` is closed, where the file system lets us write and lock."""
    with contextlib.suppress(OSError):  # else each process compiles, as JAX caches or not
        path.parent.mkdir(parents=True, exist_ok=True)
        fcntl.flock(held.enter_context(open(path, "w")), fcntl.LOCK_EX)
