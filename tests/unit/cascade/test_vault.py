"""A vault by hand (MODEL.md 2.6 and 2.9): takes over at the bankruptcy price, and works it off.

A long of 100 bought at 1 with 10 of own funds, at 0.8: it owes 10, so that its bankruptcy price is
0.9. A vault that takes a contract pays 0.9 for it.
"""

import jax.numpy as jnp
import kernel
import numpy as np
import pytest
from test_stage_backstop import NONE, PRICE, absorbed
from worlds import TINY_LAYOUT, flat_inputs, per_slot, tiny_world

from deleverage.policy import VaultRules


def vaults(capacity, half_life=1.0):
    return VaultRules(
        capacity=np.array([[capacity], [0.0]]), half_life=np.array([[half_life], [1e30]])
    )


def bankrupt(fund=0.0, adl=1.0, **changes):
    """The long, and a short of 100 that has gained 20, in the tiny world."""
    cash = np.array([NONE, [60.0, 0.0, 0.0], NONE])
    return {
        "books__position": per_slot(TINY_LAYOUT, [[[100.0, 0, 0]], [[-100.0, 0, 0]], [NONE]], 1),
        "books__collateral": per_slot(TINY_LAYOUT, [[[10.0, 0, 0]], [NONE], [NONE]], 1),
        "books__cash": cash[..., None],
        "backstop__fund": np.array([[fund], [0.0]]),
        "backstop__adl": adl,
    } | changes


def taken_over(case, column, capacity, **changes):
    world = case(**bankrupt(**changes), vault=vaults(capacity))
    due = jnp.zeros((3, 3, 1, 1), bool).at[0, 0].set(True)
    price = column(*PRICE)
    accounts, _, _, vault, losses = absorbed(
        world, world.state.accounts, due, world.state.fund, price
    )
    paid = {name: float(np.ravel(value)[0]) for name, value in losses._asdict().items()}
    parts = ("insurance_drawn", "vault_paid", "adl_loss", "socialised_loss", "unabsorbed_loss")
    assert paid["bad_debt"] == pytest.approx(10.0)
    assert sum(paid[part] for part in parts) == pytest.approx(10.0)
    return accounts, vault, paid


def test_a_vault_takes_over_at_the_bankruptcy_price(case, column):
    accounts, vault, paid = taken_over(case, column, capacity=90.0)
    assert vault.units[4, 0, 0] == pytest.approx(100.0)
    assert vault.cash[:, 0, 0] == pytest.approx([-90.0, 0.0])
    assert paid["vault_paid"] == pytest.approx(10.0)
    assert paid["vault_taken"] == pytest.approx(80.0)
    assert paid["adl_loss"] == paid["adl_notional"] == 0.0
    # the winner is left alone, the long's debt is its collateral
    assert accounts.contracts[0, :2, 0, 0, 0].tolist() == [0.0, -100.0]
    assert accounts.cash[:2, 0, 0, 0] == pytest.approx([-10.0, 60.0])


def test_what_its_capital_does_not_reach_is_deleveraged(case, column):
    accounts, vault, paid = taken_over(case, column, capacity=45.0)  # half of 90
    assert vault.units[4, 0, 0] == pytest.approx(50.0)
    assert vault.cash[0, 0, 0] == pytest.approx(-45.0)
    assert [paid["vault_paid"], paid["adl_loss"]] == pytest.approx([5.0, 5.0])
    assert paid["adl_notional"] == pytest.approx(40.0)
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([0.0, -50.0])


def test_the_fund_comes_before_the_vault(case, column):
    accounts, vault, paid = taken_over(case, column, capacity=27.0, fund=4.0)
    # 6 of 10 are left: 60 contracts, of which 27 of 54 are taken
    assert paid["insurance_drawn"] == pytest.approx(4.0)
    assert [paid["vault_paid"], paid["adl_loss"]] == pytest.approx([3.0, 3.0])
    assert vault.units[4, 0, 0] == pytest.approx(30.0)
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([40.0, -70.0])


def test_without_deleveraging_the_rest_is_socialised(case, column):
    accounts, vault, paid = taken_over(case, column, capacity=45.0, adl=0.0)
    assert [paid["vault_paid"], paid["socialised_loss"]] == pytest.approx([5.0, 5.0])
    assert vault.units[4, 0, 0] == pytest.approx(50.0)
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([50.0, -100.0])


def test_a_vault_of_nothing_takes_nothing(case, column):
    _, vault, paid = taken_over(case, column, capacity=0.0)
    assert not vault.units.any()
    assert not vault.cash.any()
    assert paid["adl_loss"] == pytest.approx(10.0)
    assert paid["vault_taken"] == 0.0


def test_a_vault_pays_at_most_twice_the_price(case, column):
    # 10 contracts and 10 of collateral against a debt of 23: it owes 15, and the perps are worth 8
    cash = np.array([[-23.0, 0.0, 0.0], [60.0, 0.0, 0.0], NONE])
    world = case(
        **bankrupt(
            books__position=per_slot(TINY_LAYOUT, [[[10.0, 0, 0]], [[-10.0, 0, 0]], [NONE]], 1),
            books__cash=cash[..., None],
        ),
        vault=vaults(1000.0),
    )
    due = jnp.zeros((3, 3, 1, 1), bool).at[0, 0].set(True)
    price = column(*PRICE)
    *_, vault, losses = absorbed(world, world.state.accounts, due, world.state.fund, price)
    assert losses.bad_debt[0, 0, 0] == pytest.approx(15.0)
    assert vault.units[4, 0, 0] == pytest.approx(10.0)
    assert vault.cash[0, 0, 0] == pytest.approx(-16.0)
    assert losses.vault_paid[0, 0, 0] == pytest.approx(8.0)
    assert losses.adl_loss[0, 0, 0] == 0.0  # nothing is left to close
    assert losses.socialised_loss[0, 0, 0] == pytest.approx(7.0)


def test_deficits_of_loans_are_not_for_vaults(case, column):
    world = case(
        books__cash=np.array([NONE, NONE, [-60.0, 0.0, 0.0]])[..., None],
        books__collateral=per_slot(TINY_LAYOUT, [[NONE], [NONE], [[50.0, 0, 0]]], 1),
        books__position=0.0,
        vault=vaults(1000.0),
    )
    due = jnp.zeros((3, 3, 1, 1), bool).at[2, 0].set(True)
    found = absorbed(world, world.state.accounts, due, world.state.fund, column(*PRICE))
    *_, vault, losses = found
    assert not vault.units.any()
    assert not vault.cash.any()
    assert losses.vault_paid[:, 0, 0].tolist() == [0.0, 0.0]
    assert losses.unabsorbed_loss[0, 0, 0] == pytest.approx(10.0)


def walk(capacity, half_life, depth, fall=0.2):
    """The long falls in the first step, at a pace of nothing: prices, vaults, losses by step."""
    world, policy = tiny_world(
        **bankrupt(),
        liquidation__pace=0.0,
        impact__depth=depth,
        vault=vaults(capacity, half_life),
    )
    moves = np.zeros((world.layout.steps, 3))
    moves[:, 1] = np.log(1.0 - fall)
    inputs = flat_inputs(world, moves)
    outcomes = kernel.simulate(world.layout, policy, inputs)
    before, after, flows = kernel.trajectory(world.layout, policy, inputs)
    return outcomes, before, after, flows


def test_what_was_taken_over_is_worked_off_into_the_book():
    depth, kept = 1000.0, 2.0**-0.5  # half-life of a minute in steps of half of one
    outcomes, before, after, flows = walk(90.0, 1.0, depth)
    units = after.vault.units[:, 4, 0]
    assert units == pytest.approx(100.0 * kept ** np.arange(8))
    sold = flows.perp_units_sold[:, 4, 0]
    assert sold[0] == 0.0
    assert sold[1:] == pytest.approx(100.0 * kept ** np.arange(7) * (1 - kept))
    # nothing heals here: the displacement is all that was sold over the depth
    y = np.cumsum(sold) / depth
    assert flows.closing_price[:, 4, 0] == pytest.approx(0.8 * np.exp(-y))
    # of a linear book, all orders together bring P depth (1 - e^-y)
    cash = -90.0 + 0.8 * depth * -np.expm1(-y)
    assert after.vault.cash[:, 0, 0] == pytest.approx(cash)
    lost = 90.0 - 0.8 * depth * -np.expm1(-y[-1]) - units[-1] * 0.8 * np.exp(-y[-1])
    assert outcomes["vault_loss"][0, 0] == pytest.approx([lost, 0.0])
    assert outcomes["vault_paid"][0, 0] == pytest.approx(10.0)
    assert outcomes["vault_taken"][0, 0] == pytest.approx([80.0, 0.0])
    assert outcomes["liquidated_notional"][0, 0] == 0.0  # none of it is a liquidation
    # who buys is the market makers
    assert after.markets.maker_units[:, 4, 0] == pytest.approx(np.cumsum(sold))
    assert before.vault.units[0].tolist() == [[0.0]] * 5


def test_a_vault_that_keeps_what_it_took_makes_what_the_price_makes():
    outcomes, _, after, _ = walk(90.0, 1e30, 1000.0)
    assert after.vault.units[-1, 4, 0] == pytest.approx(100.0)
    assert outcomes["vault_loss"][0, 0, 0] == pytest.approx(90.0 - 80.0)
    assert outcomes["adl_notional"][0, 0] == 0.0


def test_a_vault_of_shorts_buys_and_moves_the_price_up(case, column):
    short = [-100.0, 0.0, 0.0]
    world, policy = tiny_world(
        **bankrupt()
        | {
            "books__position": per_slot(TINY_LAYOUT, [[short], [[100.0, 0, 0]], [NONE]], 1),
        },
        liquidation__pace=0.0,
        impact__depth=1000.0,
        vault=vaults(500.0),
    )
    moves = np.zeros((8, 3))
    moves[:, 1] = np.log(1.2)  # it owes 10: the vault is paid 120 and pays 10
    _, after, flows = kernel.trajectory(world.layout, policy, flat_inputs(world, moves))
    assert after.vault.units[0, 4, 0] == pytest.approx(-100.0)
    assert after.vault.cash[0, 0, 0] == pytest.approx(110.0)
    assert flows.perp_units_sold[1, 4, 0] == pytest.approx(-100.0 * (1 - 2.0**-0.5))
    assert (np.diff(flows.closing_price[:, 4, 0]) > 0).all()
