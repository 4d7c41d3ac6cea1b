"""Public names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Args:
        package: Its name.
        homes: For each public name the module that has it, or the package it is a module of.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}; it has {sorted(homes)}"
            )
        home = import_module(homes[name])
        inside = f"{home.__name__}.{name}"
        value = getattr(home, name) if hasattr(home, name) else import_module(inside)
        setattr(sys.modules[package], name, value)
        return value

    return get
