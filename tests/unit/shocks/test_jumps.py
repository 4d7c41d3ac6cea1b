import jax.numpy as jnp
import numpy as np
from shock_worlds import merton

from deleverage.shocks.jumps import compensation, jump_size

RATE, INTERVAL = 0.2, 0.5
PROBABILITY = 1 - np.exp(-RATE * INTERVAL)  # 0.0952


def test_a_jump_comes_where_the_uniform_lies_below_its_probability():
    jumps = merton(RATE, -0.03, 0.02, [1.0])
    u = jnp.asarray([[PROBABILITY - 1e-4, PROBABILITY + 1e-4, 1e-9]])
    sizes = jump_size(jumps, INTERVAL, u, jnp.asarray([[1.5, 1.5, -1.0]]))
    np.testing.assert_allclose(sizes, [[0.0, 0.0, -0.05]], atol=1e-7)
    np.testing.assert_allclose(sizes[0, 0], -0.03 + 0.02 * 1.5, atol=1e-7)
    falling = jump_size(jumps, INTERVAL, u, jnp.asarray([[-1.5, -1.5, -1.0]]))
    np.testing.assert_allclose(falling, [[-0.06, 0.0, -0.05]], atol=1e-7)


def test_the_compensation_is_the_log_of_the_expected_jump_factor():
    loading = np.array([0.0, 1.0, -2.0])
    jumps = merton(RATE, -0.03, 0.02, loading)
    factor = np.exp(loading * -0.03 + (loading * 0.02) ** 2 / 2)
    expected = np.log(1 - PROBABILITY + PROBABILITY * factor)
    np.testing.assert_allclose(compensation(jumps, INTERVAL), expected, rtol=1e-5, atol=1e-12)


def test_a_rate_of_0_never_jumps():
    jumps = merton(0.0, -0.03, 0.02, [1.0])
    assert jump_size(jumps, INTERVAL, jnp.asarray([[2.0**-33]]), jnp.asarray([[1.0]])) == 0
    assert compensation(jumps, INTERVAL) == 0
