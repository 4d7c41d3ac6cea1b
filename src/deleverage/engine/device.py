"""Where the program runs, and what its bytes depend on."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jaxlib

KERNEL = (
    *("world.py", "policy.py", "state.py"),
    *("config/*.py", "shocks/*.py", "cascade/*.py", "engine/*.py"),
    # of splitting: its levels, which paths there are, and their weights
    *("sweep/levels.py", "sweep/pilot.py", "sweep/response.py", "sweep/splitting.py"),
)
"""Sources of the package that numbers come from."""


def enable_compile_cache() -> Path | None:
    """Keep compiled programs between processes, one folder per jaxlib and device kind.

    `DELEVERAGE_CACHE` names another folder; `DELEVERAGE_CACHE=off` turns it off.
    """
    setting = os.environ.get("DELEVERAGE_CACHE", "")
    if setting == "off":
        return None
    root = Path(setting) if setting else _user_cache()
    folder = root / f"jaxlib-{jaxlib.__version__}-{_device_kind()}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def fingerprint(tile_paths: int, lanes: int, dtype: str) -> dict[str, Any]:
    """What two runs must share for their arrays to be equal byte by byte."""
    return {
        "backend": jax.default_backend(),
        "device": _device_kind(),
        "kernel": kernel_hash(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "instruction_set": _instruction_set(),
        "tile_paths": tile_paths,
        "lanes": lanes,
        "dtype": dtype,
    }


@lru_cache(maxsize=2)
def kernel_hash(package: Path = Path(__file__).parents[1]) -> str:
    """Hash of the sources that numbers come from: no other kernel continues a run.

    Args:
        package: Folder of the package.
    """
    digest = hashlib.sha256()
    for pattern in KERNEL:
        for path in sorted(package.glob(pattern)):
            name = path.relative_to(package).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deleverage"


def _device_kind() -> str:
    return jax.devices()[0].device_kind.replace(" ", "-")


def processor() -> str:
    """All that this processor can do: a stored program may use any of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:16]


def _instruction_set() -> str:
    """The widest vector extension of the processor: code generation follows it."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return platform.machine()
    for name in ("avx512f", "avx2", "avx", "sse4_2", "asimd"):
        if name in flags:
            return name
    return platform.machine()
