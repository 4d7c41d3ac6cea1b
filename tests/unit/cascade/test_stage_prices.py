"""Stage 2 by hand (MODEL.md 2.2), and the primitives that mix slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import RANDOM_LAYOUT

from deleverage.cascade.maps import maps_of
from deleverage.cascade.prices import market_prices
from deleverage.cascade.primitives import (
    add_cohorts,
    contract,
    half_life_decay,
    ratio_or_zero,
    to_slot,
    total,
)


def test_a_price_is_the_fundamental_less_the_displacement(case, column):
    log_f = column(0.0, -0.1, 0.0)  # USD, BTC, USDe
    price = market_prices(case().maps, jnp.exp(log_f), column(0.02, 0.0, 0.3, -0.01, 0.05))
    expected = np.exp([-0.12, -0.1, -0.3, 0.01, -0.15])
    assert price[:, 0, 0] == pytest.approx(expected, rel=1e-6)


def test_a_cross_pair_is_settled_at_its_quote(column):
    displacement = np.zeros((12, 1, 1))
    displacement[0], displacement[4] = 0.1, 0.02  # ETH/USD and WBETH/ETH of the exchange
    log_f = column(0.0, -0.3, 0.0, -0.3, 0.0)
    price = market_prices(maps_of(RANDOM_LAYOUT), jnp.exp(log_f), jnp.asarray(displacement))
    assert price[4, 0] == pytest.approx(np.exp(-0.3 - 0.02 - 0.1), rel=1e-6)
    assert price[3, 0] == pytest.approx(np.exp(-0.3), rel=1e-6)


def test_contract_and_total_combine_rows(column):
    rows = column(3.0, 5.0)
    mixed = contract(np.array([[1.0, 2.0], [0.0, -1.0], [0.0, 0.0]]), rows)
    assert mixed[:, 0, 0].tolist() == [13.0, -5.0, 0.0]
    assert total(rows).tolist() == [[8.0]]
    assert total([]) == 0.0


def test_many_rows_are_combined_as_few_are():
    rng = np.random.default_rng(3)
    matrix, rows = rng.normal(size=(4, 9)), rng.normal(size=(9, 2, 3))
    mixed = contract(matrix, jnp.asarray(rows, jnp.float32))
    np.testing.assert_allclose(mixed, np.einsum("rs,slp->rlp", matrix, rows), rtol=1e-5)


def test_what_is_not_chosen_does_not_spread(column):
    matrix = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert contract(matrix, column(1.0, np.inf, 2.0))[0, 0, 0] == 3.0


def places(*rows):
    """Rows of one slot's books."""
    return np.array(rows, np.int32)[:, None, None, None]


def test_cohorts_are_added_to_the_rows_of_their_books(column):
    cohorts = jnp.arange(6.0).reshape(2, 3, 1, 1)  # book, bucket, lane, path
    rows = add_cohorts(column(10.0, 20.0, 30.0), places(2, 0), cohorts)
    assert rows[:, 0, 0].tolist() == [10 + 3 + 4 + 5, 20, 30 + 0 + 1 + 2]


def test_one_book_is_added_where_it_says_at_run_time(column):
    cohorts = jnp.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    add = jax.jit(add_cohorts)
    assert add(column(10.0, 20.0), jnp.asarray(places(1)), cohorts)[:, 0, 0].tolist() == [10, 23]


def test_rows_are_handed_to_the_books_that_name_them(column):
    rows = column(10.0, 20.0, 30.0)
    assert to_slot(rows, places(2, 0))[:, 0, 0, 0].tolist() == [30, 10]
    assert jax.jit(to_slot)(rows, jnp.asarray(places(1))).ravel().tolist() == [20]


def test_ratios_and_half_lives():
    ratio = ratio_or_zero(jnp.array([1.0, 3.0, 0.0]), jnp.array([0.0, 2.0, 0.0]))
    assert ratio.tolist() == [0.0, 1.5, 0.0]
    assert half_life_decay(0.5, jnp.array([0.5, 1e30])).tolist() == [0.5, 1.0]
