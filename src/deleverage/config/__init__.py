"""From a YAML file to the arrays of the kernel: `load_config`, then `build`.

Nothing heavy is imported until one of the names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deleverage.config.built import Built, build
    from deleverage.config.load import load_config
    from deleverage.config.models import Config

__all__ = ["Built", "Config", "build", "load_config"]

_HOMES = {"Built": "built", "build": "built", "load_config": "load", "Config": "models"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'deleverage.config' has no attribute {name!r}")
    value = getattr(import_module(f"deleverage.config.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
