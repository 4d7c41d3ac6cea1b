"""Severity laws against SciPy's inverse survival functions."""

import jax
import numpy as np
import pytest
from scipy import stats
from shock_worlds import macro

from deleverage.errors import ConfigError
from deleverage.shocks.laws import LAWS, generalised_pareto, student_t_coefficients
from deleverage.shocks.macro import severity

# From the first uniform there is to the last that float32 knows.
UNIFORMS = np.array([2.0**-33, 1e-9, 1e-7, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 2.0**-20])

CLOSED = [law for law in LAWS if law != "student_t"]  # of a, b, c alone

EXPECTED = {
    "fixed": lambda a, b, c: np.full(UNIFORMS.shape, a),
    "normal": lambda a, b, c: stats.norm.isf(UNIFORMS, a, b),
    "lognormal": lambda a, b, c: stats.lognorm.isf(UNIFORMS, b, scale=a),
    "generalised_pareto": lambda a, b, c: stats.genpareto.isf(UNIFORMS, c, a, b),
}


@pytest.mark.parametrize("shape", [0.3, 0.0, -0.2, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("law", CLOSED)
def test_each_law_is_the_inverse_survival_function(law, dtype, shape):
    with jax.enable_x64(dtype == np.float64):
        a, b, c = (dtype(number) for number in (0.1, 0.05, shape))
        values = np.asarray(LAWS[law](a, b, c, jax.numpy.asarray(UNIFORMS, dtype)))
    assert values.dtype == dtype
    rtol = 2e-6 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(values, EXPECTED[law](0.1, 0.05, shape), rtol, 1e-7)


def student(degrees, uniforms, dtype=np.float32, a=0.1, b=0.05):
    """Severities of a Student-t law, as the kernel makes them."""
    numbers = dict(a=a, b=b, c=degrees, quantile=student_t_coefficients(degrees))
    with jax.enable_x64(dtype == np.float64):
        shock = macro(1, "student_t", **numbers)
        shock = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, dtype), shock)
        values = np.asarray(severity(shock, jax.numpy.asarray(uniforms, dtype)))
    assert values.dtype == dtype
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("degrees", [1.0, 1.5, 2.0, 3.0, 4.0, 7.3, 30.0, 1e4])
def test_student_t_is_the_inverse_survival_function(degrees, dtype):
    # all that a uniform can be: the kernel's float32 uniforms are read as they are
    uniforms = np.concatenate([np.geomspace(2.0**-33, 0.5, 500), 1 - np.geomspace(2.0**-20, 0.5)])
    uniforms = uniforms.astype(dtype)
    expected = stats.t.isf(uniforms.astype(np.float64), degrees)
    values = student(degrees, uniforms, dtype, a=0.0, b=1.0)
    # a quantile's relative error is that of the normal score, times z / degrees in the tail
    rtol = 1e-6 + 5e-6 / degrees if dtype == np.float32 else 1e-9  # SciPy's own, of float64
    np.testing.assert_allclose(values, expected, rtol, 1e-7 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(
    ("degrees", "upper"),
    [
        (1.0, lambda u: 1 / np.tan(np.pi * u)),
        (2.0, lambda u: (1 - 2 * u) / np.sqrt(2 * u * (1 - u))),
        (
            4.0,
            lambda u: 2 * np.sqrt(np.cos(np.arccos(r := np.sqrt(4 * u * (1 - u))) / 3) / r - 1),
        ),
    ],
)
def test_student_t_at_the_degrees_that_have_a_closed_form(degrees, upper):
    u = np.array([2.0**-33, 1e-6, 0.01, 0.3])
    values = student(degrees, u, np.float64, a=0.0, b=1.0)
    np.testing.assert_allclose(values, upper(u), rtol=1e-11)


def test_the_student_t_law_has_its_centre_in_the_middle_and_its_bad_tail_at_0():
    values = student(3.0, UNIFORMS)
    assert values[6] == pytest.approx(0.1)  # u = 1/2
    assert np.all(np.diff(values) < 0)
    np.testing.assert_allclose(
        student(3.0, UNIFORMS) - 0.1, 0.05 * stats.t.isf(UNIFORMS, 3), 1e-5, 1e-7
    )


@pytest.mark.parametrize("law", CLOSED)
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
