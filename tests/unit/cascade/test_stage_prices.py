"""Stage 2 by hand (MODEL.md 2.2), and the primitives that mix slots."""

import jax.numpy as jnp
import numpy as np
import pytest
from worlds import RANDOM_LAYOUT

from deleverage.cascade.maps import maps_of
from deleverage.cascade.prices import market_prices
from deleverage.cascade.primitives import contract, gather, half_life_decay, ratio_or_zero, total


def test_a_price_is_the_fundamental_less_the_displacement(case, column):
    log_f = column(0.0, -0.1, 0.0)  # USD, BTC, USDe
    price = market_prices(case().maps, log_f, column(0.02, 0.0, 0.3, -0.01, 0.05))
    expected = np.exp([-0.12, -0.1, -0.3, 0.01, -0.15])
    assert price[:, 0] == pytest.approx(expected, rel=1e-6)


def test_a_cross_pair_is_settled_at_its_quote(column):
    displacement = np.zeros((12, 1))
    displacement[0], displacement[4] = 0.1, 0.02  # ETH/USD and WBETH/ETH of the exchange
    log_f = column(0.0, -0.3, 0.0, -0.3, 0.0)
    price = market_prices(maps_of(RANDOM_LAYOUT), log_f, jnp.asarray(displacement))
    assert price[4, 0] == pytest.approx(np.exp(-0.3 - 0.02 - 0.1), rel=1e-6)
    assert price[3, 0] == pytest.approx(np.exp(-0.3), rel=1e-6)


def test_contract_and_total_combine_rows(column):
    mixed = contract(np.array([[1.0, 2.0], [0.0, -1.0]]), column(3.0, 5.0))
    assert mixed[:, 0].tolist() == [13.0, -5.0]
    assert total(column(1.0, 2.0, 4.0)).tolist() == [7.0]
    assert total(jnp.zeros((0, 2, 1))).tolist() == [[0.0], [0.0]]


def test_gather_sums_buckets_of_all_blocks():
    first = jnp.arange(6.0).reshape(1, 2, 3, 1)  # slot, book, bucket, path
    second = jnp.ones((1, 1, 3, 1))
    rows = gather([np.array([[[1.0, 0.0]], [[0.0, 2.0]]]), np.array([[[1.0]], [[0.0]]])],
                  [first, second])  # fmt: skip
    assert rows[:, 0].tolist() == [0 + 1 + 2 + 3, 2 * (3 + 4 + 5)]


def test_gather_without_slots_is_zero():
    assert gather([np.zeros((2, 0, 1))], [jnp.zeros((0, 1, 3, 1))]).tolist() == [[0.0], [0.0]]


def test_ratios_and_half_lives():
    ratio = ratio_or_zero(jnp.array([1.0, 3.0, 0.0]), jnp.array([0.0, 2.0, 0.0]))
    assert ratio.tolist() == [0.0, 1.5, 0.0]
    assert half_life_decay(0.5, jnp.array([0.5, 1e30])).tolist() == [0.5, 1.0]
