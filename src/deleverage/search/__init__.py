"""Search of the policy space: a Sobol sweep, then rounds of refinement towards the front.

Nothing heavy is imported until one of the names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deleverage.search.driver import Found, search

__all__ = ["Found", "search"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'deleverage.search' has no attribute {name!r}")
    value = getattr(import_module("deleverage.search.driver"), name)
    globals()[name] = value
    return value
