"""Whether low or high values of a measure are good."""

from __future__ import annotations

from deleverage.analysis.measures import Probability, Tail
from deleverage.errors import ConfigError
from deleverage.results.schema import GOOD, Good

OTHER: dict[Good, Good] = {"low": "high", "high": "low"}


def good_values(variable: str | None, asked: Good | None) -> Good:
    """Whether low or high values of a variable are good: as asked, else as the schema says.

    Raises:
        ConfigError: `asked` is neither, or nothing says which.
    """
    if asked not in (None, "low", "high"):
        raise ConfigError(f"good is {asked!r}, but it must be 'low' or 'high'.")
    found = asked or GOOD.get(variable or "")
    if found is None:
        raise ConfigError(
            f"whether low or high values of {variable or 'this outcome'} are good is not known; "
            "say good='low' or good='high' (on the command line `--good low`)."
        )
    return found


def good_measure(values: Good, what: object) -> Good:
    """Whether a low or a high measure is good; of low values few should lie above a threshold."""
    above_is_high = not isinstance(what, Probability) or what.above is not None
    return values if above_is_high else OTHER[values]


def bad_tail(values: Good) -> Tail:
    """The tail that expected shortfall looks at where none is asked for."""
    return "upper" if values == "low" else "lower"
