"""Compiled programs, kept between processes: a later start neither traces nor compiles.

A program is stored as the compiler's own bytes under a name that stands for all it is made from:
sources, versions, processor, structure and shapes. Whoever loads it runs it, so the folder must be
the user's own, as JAX's cache beside it must. JAX's cache alone would save the compiler's work but
not tracing and lowering, which take longer than a small run.

Other sources may lower to the same program, as when a comment changes. So a file is also linked
under the name of what was compiled, and whoever lowers to that again is spared the compiler.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
import numpy as np
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from deleverage.engine.compile_once import compile_once, name_of

OPTIONS = {"xla_cpu_prefer_vector_width": 512}
"""For the compiler. Columns are independent, so the wider a register the better; a processor with
narrower ones uses those, and other backends do not read this."""

_HIT = "/jax/compilation_cache/cache_hits"

_held: dict[str, Callable] = {}


def compiled(name: str, function: Callable, arguments: tuple, folder: Path | None) -> Callable:
    """A function of the arrays in some arguments, compiled: in this process, before, or now.

    Args:
        name: Of the program; see `program_name`.
        function: Takes the arguments, and gives tuples and dicts of arrays.
        arguments: Trees. Of their arrays shapes and types count; whatever else is in them, such
            as a layout, is part of the program.
        folder: Of the cache; None: nothing is kept between processes.

    Returns:
        Takes `arrays_of(arguments)`, or others of their shapes and types.
    """
    if name not in _held:
        file = None if folder is None else folder / "programs" / f"{name}.program"
        found = _load(file)
        if found is None:
            with compile_once(folder, name):
                found = _load(file)  # another process has made it while we waited
                if found is None:
                    found = _make(file, function, arguments)
        _held[name] = found
    return _held[name]


def arrays_of(arguments: tuple) -> list[Any]:
    """The arrays among the leaves, in order."""
    return [leaf for leaf in jax.tree.leaves(arguments) if _is_array(leaf)]


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic)


def _make(file: Path | None, function: Callable, arguments: tuple) -> Callable:
    lowered = _lowered(function, arguments)
    if file is None:
        return lowered.compile(OPTIONS)
    parts = (lowered.as_text(), lowered.in_tree, lowered.out_tree, OPTIONS)
    twin = file.with_name(f"{name_of(*parts)}.program")
    found = _load(twin)
    if found is None:
        with _events(_HIT) as hits:
            found = lowered.compile(OPTIONS)
        if hits:
            # XLA on a CPU cannot write again what it has read from JAX's cache (the copy would
            # lack functions), and there it finds no program by another name
            found = _lowered(function, arguments, f"program_{uuid.uuid4().hex}").compile(OPTIONS)
        _store(twin, found)
    with contextlib.suppress(OSError):  # where it was not stored, JAX's cache remains
        os.link(twin, file)
    return found


def _lowered(function: Callable, arguments: tuple, name: str = "program") -> Any:
    leaves, structure = jax.tree.flatten(arguments)

    def of_arrays(*arrays: Any) -> Any:
        given = iter(arrays)
        filled = [next(given) if _is_array(leaf) else leaf for leaf in leaves]
        return function(*structure.unflatten(filled))

    of_arrays.__name__ = name  # of the program too
    return jax.jit(of_arrays).lower(*arrays_of(arguments))


def _store(file: Path, made: Any) -> None:
    """Write a program whole or not at all."""
    with contextlib.suppress(OSError, ValueError, NotImplementedError):
        content = zlib.compress(pickle.dumps(serialize(made)), 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        # containers that share a cache have the same process ids
        temporary = file.with_suffix(f".{uuid.uuid4().hex}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, file)


def _load(file: Path | None) -> Callable | None:
    """A stored program; None where there is none or it cannot be read."""
    if file is None:
        return None
    try:
        content = file.read_bytes()
    except OSError:
        return None
    try:
        stored = pickle.loads(zlib.decompress(content))
        return deserialize_and_load(*stored, execution_devices=jax.local_devices()[:1])
    except Exception:  # whatever a damaged file makes of itself: it is made again
        with contextlib.suppress(OSError):
            file.unlink()
        return None


@contextlib.contextmanager
def _events(wanted: str) -> Iterator[list[str]]:
    """Events of JAX of one name, as they happen."""
    seen: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == wanted:
            seen.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_listener(listen)
