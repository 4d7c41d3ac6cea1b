"""Depth and realised volatility, by hand (MODEL.md 2.7)."""

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.impact import Depth
from deleverage.cascade.thinning import realise, thin
from deleverage.policy import ThinningRules
from deleverage.state import Volatility

RULES = ThinningRules(strength=2.0, normal=1e-4, smoothing=0.25, least=0.02)


@pytest.mark.parametrize(
    ("variance", "left"),
    [
        (1e-4, 1.0),
        (0.0, 1.0),  # a calm market is no deeper
        (2e-4, 1 / 3),
        (5e-4, 1 / 9),
        (1.0, 0.02),  # what stays in any case
    ],
)
def test_depth_falls_with_the_excess_of_variance(variance, left):
    depth = Depth(jnp.array(0.5), jnp.array(200.0), jnp.array(1 / 200))
    found = thin(RULES, depth, jnp.array(variance))
    assert float(found.multiplier) == pytest.approx(0.5 * left, rel=1e-5)
    assert float(found.local) == pytest.approx(200 * left, rel=1e-5)
    assert float(found.inverse) == pytest.approx(1 / (200 * left), rel=1e-5)


def test_variance_is_an_average_of_squared_returns_per_minute():
    before = Volatility(jnp.array(1e-4), jnp.array(-0.1))
    after = realise(RULES, before, jnp.array(-0.16), 0.5)
    assert float(after.variance) == pytest.approx(0.75e-4 + 0.25 * 0.06**2 / 0.5, rel=1e-5)
    assert float(after.log_price) == pytest.approx(-0.16)


def test_a_price_beyond_the_smallest_float_has_a_variance():
    after = realise(RULES, Volatility(jnp.array(1e-4), jnp.array(0.0)), jnp.array(-900.0), 0.5)
    assert np.isfinite(after.variance)
