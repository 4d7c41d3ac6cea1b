import jax.numpy as jnp
import numpy as np
from scipy import stats
from shock_worlds import liquidity

from deleverage.shocks.liquidity import drop, worst_drop


def test_the_drop_builds_up_holds_and_recovers():
    rules = liquidity(onset=2.0, hold=3.0, half_life=4.0)
    since = jnp.asarray([-1.0, 0.0, 1.0, 2.0, 5.0, 9.0, 13.0])[:, None]
    gone = drop(rules, jnp.asarray([0.8]), since)
    np.testing.assert_allclose(gone[:, 0], [0, 0, 0.4, 0.8, 0.8, 0.4, 0.2], rtol=1e-6)


def test_without_onset_the_drop_is_there_at_once():
    gone = drop(liquidity(half_life=1e30), jnp.asarray([0.8]), jnp.asarray([[0.0], [0.5], [60.0]]))
    np.testing.assert_allclose(gone[:, 0], [0, 0.8, 0.8], rtol=1e-6)


def test_full_correlation_makes_the_drop_a_function_of_the_severity():
    u, normals = jnp.asarray([0.001, 0.2, 0.9]), jnp.asarray([3.0, -3.0, 0.5])
    following = worst_drop(liquidity(lowest=0.2, highest=0.6, correlation=1.0), u, normals)
    np.testing.assert_allclose(following, 0.2 + 0.4 * (1 - np.asarray(u)), rtol=1e-5)
    opposed = worst_drop(liquidity(lowest=0.2, highest=0.6, correlation=-1.0), u, normals)
    np.testing.assert_allclose(opposed, 0.2 + 0.4 * np.asarray(u), rtol=1e-5)


def test_partial_correlation_by_hand():
    u, normals = np.array([0.001, 0.2]), np.array([1.0, -0.7])
    score = 0.6 * stats.norm.isf(u) + 0.8 * normals
    worst = worst_drop(
        liquidity(highest=0.9, correlation=0.6), jnp.asarray(u), jnp.asarray(normals)
    )
    np.testing.assert_allclose(worst, 0.9 * stats.norm.cdf(score), rtol=1e-5)
