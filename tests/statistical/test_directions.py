"""Which way each suspect and remedy of 10 October pushes, paired on common draws: `slow`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deleverage as dl

CONFIG = Path(__file__).parents[2] / "configs/directions.yaml"
PATHS = 1024
ERRORS = 4.0
"""Standard errors that a difference must be away from zero: by chance once in 30,000."""


@pytest.fixture(scope="module")
def outcomes():
    """The real scenario under one change at a time."""
    return dl.simulate(dl.load_config(CONFIG), paths=PATHS)


def amount(outcomes, policy, name):
    """An outcome of every path; a market's trough by its label."""
    found = outcomes.sel(policy=policy)
    if "/" in name:
        return np.asarray(found.trough_price.sel(market=name), np.float64)
    values = found[name]
    return np.asarray(values.sum([d for d in values.dims if d != "path"]), np.float64)


def paired(outcomes, name, policy, other):
    """Mean of the paired difference, and its standard error."""
    apart = amount(outcomes, policy, name) - amount(outcomes, other, name)
    return apart.mean(), apart.std(ddof=1) / np.sqrt(PATHS)


def difference(outcomes, name, policy, other="baseline"):
    """Mean of the paired difference in its standard errors."""
    mean, error = paired(outcomes, name, policy, other)
    return mean / error


def change(outcomes, name, policy, other="baseline"):
    """The same as text; of amounts in USD millions."""
    return "{:+.4g} ± {:.2g}".format(*paired(outcomes, name, policy, other))


# (what is worse, against what)
WORSE = [
    ("baseline", "half_own_book"),
    ("half_own_book", "no_own_book"),
    ("baseline", "open_gate"),
    ("shut_gate", "baseline"),
    ("baseline", "no_loops"),
    ("double_loops", "baseline"),
    ("thin_books", "baseline"),
    ("baseline", "deep_books"),
]


REPORTED = ("exchange/USDe/spot", "wrongful_liquidations", "compensation", "bad_debt")


@pytest.mark.slow
@pytest.mark.parametrize(("worse", "better"), WORSE)
def test_it_deepens_the_depeg_and_raises_wrongful_losses(outcomes, worse, better):
    changes = (f"{name} {change(outcomes, name, worse, better)}" for name in REPORTED)
    print(f"{worse} against {better}: {', '.join(changes)}")
    assert difference(outcomes, "exchange/USDe/spot", worse, better) < -ERRORS
    for name in ("wrongful_liquidations", "compensation", "bad_debt"):
        assert difference(outcomes, name, worse, better) > ERRORS, name


@pytest.mark.slow
def test_a_redemption_index_with_a_floor_cuts_compensation_and_little_else(outcomes):
    def means(name):
        policies = ("redemption_and_floor", "baseline")
        return [amount(outcomes, policy, name).mean() for policy in policies]

    def ratio(remedy, before):
        return remedy / before

    for name in (*REPORTED, "exchange/BTC/perp", "liquidated_notional", "missed_loss"):
        remedy, before = means(name)
        paired_change = change(outcomes, name, "redemption_and_floor")
        print(f"{name}: {before:.4g} to {remedy:.4g}, {paired_change}")
    assert ratio(*means("compensation")) < 0.2
    # how far BTC falls, not where to: a tenth of its lowest price would be most of the fall
    assert abs(ratio(*(1 - price for price in means("exchange/BTC/perp"))) - 1) < 0.1
    assert abs(ratio(*means("liquidated_notional")) - 1) < 0.1
    for name in ("bad_debt", "missed_loss"):
        assert paired(outcomes, name, "redemption_and_floor", "baseline")[0] <= 0, name
