"""Search of the policy space: a Sobol sweep, then rounds of refinement towards the front.

Nothing heavy is imported until one of the names is used.
"""

from typing import TYPE_CHECKING

from deleverage.lazy import lazily

if TYPE_CHECKING:
    from deleverage.search.driver import Found, search

__all__ = ["Found", "search"]

__getattr__ = lazily(__name__, dict.fromkeys(__all__, "deleverage.search.driver"))
