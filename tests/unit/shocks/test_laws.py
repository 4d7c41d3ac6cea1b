"""Severity laws against SciPy's inverse survival functions."""

import jax
import numpy as np
import pytest
from scipy import stats
from shock_worlds import macro

from deleverage.errors import ConfigError
from deleverage.shocks.laws import LAWS, generalised_pareto
from deleverage.shocks.macro import severity

# From the first uniform there is to the last that float32 knows.
UNIFORMS = np.array([2.0**-33, 1e-9, 1e-7, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 2.0**-20])

EXPECTED = {
    "fixed": lambda a, b, c: np.full(UNIFORMS.shape, a),
    "normal": lambda a, b, c: stats.norm.isf(UNIFORMS, a, b),
    "lognormal": lambda a, b, c: stats.lognorm.isf(UNIFORMS, b, scale=a),
    "generalised_pareto": lambda a, b, c: stats.genpareto.isf(UNIFORMS, c, a, b),
}


@pytest.mark.parametrize("shape", [0.3, 0.0, -0.2, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("law", LAWS)
def test_each_law_is_the_inverse_survival_function(law, dtype, shape):
    with jax.enable_x64(dtype == np.float64):
        a, b, c = (dtype(number) for number in (0.1, 0.05, shape))
        values = np.asarray(LAWS[law](a, b, c, jax.numpy.asarray(UNIFORMS, dtype)))
    assert values.dtype == dtype
    rtol = 2e-6 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(values, EXPECTED[law](0.1, 0.05, shape), rtol, 1e-7)


@pytest.mark.parametrize("law", LAWS)
def test_the_bad_tail_is_at_0(law):
    values = LAWS[law](0.1, 0.05, 0.3, jax.numpy.asarray(UNIFORMS))
    assert np.all(np.diff(values) <= 0)


def test_the_pareto_law_passes_smoothly_through_the_exponential():
    u = jax.numpy.asarray(UNIFORMS)
    exponential = generalised_pareto(0.1, 0.05, np.float32(0), u)
    np.testing.assert_allclose(exponential, 0.1 - 0.05 * np.log(UNIFORMS), 1e-6)
    np.testing.assert_allclose(generalised_pareto(0.1, 0.05, 1e-7, u), exponential, 3e-6)


def test_the_cap_binds_even_where_the_law_overflows():
    wild = macro(1, "generalised_pareto", a=0, b=1, c=10, cap=0.6)
    np.testing.assert_allclose(severity(wild, jax.numpy.asarray([1e-9, 0.5])), [0.6, 0.6])


def test_an_unknown_law_is_refused():
    with pytest.raises(ConfigError, match="The severity law is 'cauchy'; choose one of fixed"):
        severity(macro(1, "cauchy"), jax.numpy.asarray([0.5]))
