"""Tail measures of outcomes over paths, each with standard error and interval.

An outcome is a DataArray with the dimension `path` and any others (`policy`, `market`), in memory
or in Dask; the coordinates `status` and `log_weight` are read where it carries them. The result is
a Dataset over the other dimensions:

- `estimate`, `standard_error`, `lower`, `upper`: the measure and its interval of `level`;
- `paths`: values used; `missing`: NaN values, left out and counted;
- `flagged`: paths whose status is not 0. They are used like all others.

With `log_weight` (the log likelihood ratio of importance sampling) every mean is
`mean(exp(log_weight) * term)`, unbiased; weights are not divided by their sum.

With `draw_block` (paths drawn in blocks: antithetic pairs, strata, Sobol points) every error comes
from the sums of blocks, which are independent, and intervals are Student's with one degree of
freedom less than there are blocks; exact binomial ones do not hold there. Where every block has as
many paths below a quantile (the median of antithetic pairs), its error is 0, and the interval of a
difference with it has no width: what is left is the gap between two neighbouring paths.
"""

from deleverage.analysis.conditional import conditional
from deleverage.analysis.convergence import convergence
from deleverage.analysis.differences import difference, paired, ranking
from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.measuring import (
    expected_shortfall,
    mean,
    measure,
    peaks_over_threshold,
    probability,
    quantile,
    tail_index,
)
from deleverage.analysis.ratios import difference_of_ratios, ratio_of_means
from deleverage.analysis.thresholds import threshold_diagnostics

__all__ = [
    "ThinTailWarning",
    "conditional",
    "convergence",
    "difference",
    "difference_of_ratios",
    "expected_shortfall",
    "mean",
    "measure",
    "paired",
    "peaks_over_threshold",
    "probability",
    "quantile",
    "ranking",
    "ratio_of_means",
    "tail_index",
    "threshold_diagnostics",
]
