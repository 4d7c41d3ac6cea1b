import jax.numpy as jnp
import numpy as np
from shock_worlds import macro

from deleverage.shocks.diffusion import log_change, volatility_multiplier
from deleverage.shocks.macro import arrival, log_drop, shock_time


def column(*values):
    return jnp.asarray(values)[:, None]


def test_the_drop_arrives_linearly_and_rebounds_after_a_delay():
    shock = macro(duration=4.0, rebound=0.5, rebound_delay=5.0, rebound_half_life=3.0)
    since = column(-1.0, 0.0, 1.0, 4.0, 5.0, 8.0, 11.0)
    drop = log_drop(shock, jnp.asarray([0.2, 1.0]), since)
    # After 8 and 11 minutes 1/2 and 3/4 of the rebounding half have come back.
    share = np.array([0, 0, 0.25, 1, 1, 0.75, 0.625])
    np.testing.assert_allclose(drop, share[:, None] * [0.2, 1.0], rtol=1e-6)


def test_a_drop_without_duration_arrives_at_once_and_not_before():
    drop = log_drop(macro(), jnp.asarray([0.3]), column(-0.5, 0.0, 0.5, 100.0))
    np.testing.assert_allclose(drop[:, 0], [0, 0, 0.3, 0.3], rtol=1e-6)


def test_arrival_is_a_share():
    np.testing.assert_allclose(arrival(jnp.asarray([0.5, 2.0, 9.0]), 2.0), [0.25, 1, 1])
    np.testing.assert_allclose(arrival(jnp.asarray([0.5, 2.0, 9.0]), 0.0), [1, 1, 1])


def test_a_drop_arrives_by_its_profile():
    # a tenth at once, to a half by 2 minutes, nothing until 5, the rest by 6
    shock = macro(profile=[[0.0, 2.0, 5.0, 6.0], [0.1, 0.5, 0.5, 1.0]])
    since = column(-1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 5.5, 6.0, 50.0)
    drop = log_drop(shock, jnp.asarray([0.2]), since)[:, 0]
    share = np.array([0, 0, 0.2, 0.3, 0.5, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(drop, 0.2 * share, rtol=1e-6)


def test_a_profile_of_two_points_is_a_duration():
    since = column(-1.0, 0.0, 0.3, 2.0, 3.9, 4.0, 7.0)
    by_profile = macro(profile=[[0.0, 4.0], [0.0, 1.0]], rebound=0.3, rebound_delay=1.0)
    linear = macro(duration=4.0, rebound=0.3, rebound_delay=1.0)
    severity = jnp.asarray([0.2])
    np.testing.assert_array_equal(
        log_drop(by_profile, severity, since), log_drop(linear, severity, since)
    )


def test_a_scheduled_shock_comes_on_time_and_a_random_one_in_its_window():
    u = jnp.asarray([0.01, 0.25, 0.99])
    np.testing.assert_array_equal(shock_time(macro(start=7.0), u), [7, 7, 7])
    np.testing.assert_allclose(shock_time(macro(start=7.0, latest=9.0), u), [7.02, 7.5, 8.98])


def test_volatility_jumps_at_the_shock_and_halves_back():
    burst = macro(volatility_multiplier=5.0, volatility_half_life=2.0)
    nu = volatility_multiplier(burst, column(-0.5, 0.0, 2.0, 4.0, 1e6))
    np.testing.assert_allclose(nu[:, 0], [1, 5, 3, 2, 1], rtol=1e-6)


def test_the_change_of_log_price_by_hand():
    loading = jnp.asarray([[0.1, 0.2], [0.0, 0.3]])
    change = log_change(
        loading,
        jnp.asarray([0.05, 0.09]),
        jnp.asarray([2.0]),
        jnp.asarray([[1.0], [-2.0]]),
        0.25,
    )
    # 2 * 0.5 * (0.1 - 0.4) - 4 * 0.125 * 0.05; 2 * 0.5 * (-0.6) - 4 * 0.125 * 0.09
    np.testing.assert_allclose(change[:, 0], [-0.325, -0.645], rtol=1e-6)
