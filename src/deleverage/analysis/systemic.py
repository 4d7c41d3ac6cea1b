"""Systemic measures of a run: who drags whom down, how far feedback carries, on what it rests.

Every number comes with its standard error and interval, as in `deleverage.tail`.
"""

from deleverage.analysis.all_pairs import all_pairs
from deleverage.analysis.cascades import co_depeg, distribution, supercritical_probability
from deleverage.analysis.concentration import herfindahl, independent_channels
from deleverage.analysis.spillovers import covar, delta_covar, marginal_expected_shortfall

__all__ = [
    "all_pairs",
    "co_depeg",
    "covar",
    "delta_covar",
    "distribution",
    "herfindahl",
    "independent_channels",
    "marginal_expected_shortfall",
    "supercritical_probability",
]
