"""What the numbers of a benchmark belong to: machine, versions, commit; and its C compiler."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("deleverage", "jax", "jaxlib", "numpy", "numba")
NO_COMPILER = "There is no C compiler (CC, cc, gcc or clang) here, so the program in C is left out."


def compiler() -> str | None:
    """Path of a C compiler, or None."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def cores() -> list[int]:
    """Cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def described() -> dict[str, Any]:
    """Machine, versions, commit and load, by name."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": len(cores()),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": platform.platform(),
            "load_before": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not a git checkout"
