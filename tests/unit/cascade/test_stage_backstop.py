"""Stage 9 by hand: fund, deleveraged winners, everybody, the venue (MODEL.md 2.9).

A long of 100 bought at 1 with 10 of own funds, at 0.8: it owes 10. A short of 100 has gained 20.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import TINY_LAYOUT, per_slot

from deleverage.cascade.backstop import absorb
from deleverage.cascade.index import Published
from deleverage.cascade.margin_call import Masks, margin_call, marked
from deleverage.cascade.settlement import settle
from deleverage.cascade.worklist import Drive

NONE = [0.0, 0.0, 0.0]
PRICE = (0.8, 0.8, 1.0, 1.0, 0.8)


def absorbed(world, accounts, due, fund, price):
    """Stage 9 at given prices, without orders: accounts, markets, fund, vaults and losses."""
    nobody = jnp.zeros_like(due)
    call = margin_call(world.maps, marked(Masks(due, nobody, due, due)))
    drive, state = Drive(), world.state
    fair = Published(*[jnp.ones((2, 1, 1)), price, jnp.ones((2, 1, 1)), None, None])
    settled = settle(
        world.maps,
        world.rules,
        accounts,
        state.orders,
        state.deficit,
        call,
        fair,
        price,
        price,
        price,
        drive,
    )
    return absorb(
        world.maps,
        world.policy.backstop,
        world.rules,
        settled,
        call,
        state.markets,
        fund,
        price,
        drive,
        world.policy.vault,
        world.state.vault,
    )


def settled(
    case,
    column,
    fund,
    adl=1.0,
    short_cash=60.0,
    due=True,
    winner_due=False,
    shorts=None,
    queue=None,
    held=1.0,
):
    shorts = [-100.0, 0.0, 0.0] if shorts is None else shorts
    short_cash = np.where(shorts, short_cash, 0.0)
    cash = np.array([NONE, short_cash, NONE])
    world = case(
        books__position=per_slot(TINY_LAYOUT, [[[100.0, 0, 0]], [shorts], [NONE]], 1),
        books__collateral=per_slot(TINY_LAYOUT, [[[10.0, 0, 0]], [NONE], [NONE]], 1),
        books__cash=cash[..., None],
        backstop__fund=np.array([[fund], [0.0]]),
        backstop__adl=adl,
        backstop__queue=queue,
    )
    is_due = jnp.zeros((3, 3, 1, 1), bool).at[0, 0].set(due).at[1, 0].set(winner_due)
    begun = world.state.accounts
    sold = (1.0 - held) * begun.contracts[0, 0, 0]  # of the long, at the price that is
    then = (
        begun.contracts.at[0, 0, 0].add(-sold),
        begun.cash.at[0, 0].add(sold * (PRICE[4] - 1.0)),
    )
    begun = eqx.tree_at(lambda a: (a.contracts, a.cash), begun, then)
    found = absorbed(world, begun, is_due, world.state.fund, column(*PRICE))
    accounts, markets, left, _, losses = found
    bears = {name: by for name, by in losses._asdict().items() if by is not None}
    paid = {name: float(np.ravel(value)[0]) for name, value in bears.items()}
    parts = ("insurance_drawn", "adl_loss", "socialised_loss", "unabsorbed_loss")
    assert paid["bad_debt"] == pytest.approx(sum(paid[part] for part in parts))
    return accounts, markets, left, paid


def test_the_fund_pays_and_takes_over(case, column):
    accounts, _, fund, paid = settled(case, column, fund=15.0)
    assert paid["bad_debt"] == paid["insurance_drawn"] == pytest.approx(10.0)
    assert fund[:, 0, 0] == pytest.approx([5.0, 0.0])
    assert accounts.cash[0, 0, 0, 0] == pytest.approx(10.0)
    assert accounts.contracts[0, 0, 0, 0, 0] == 100.0  # the venue works them off
    assert accounts.taken_over[0, :, 0, 0].tolist() == [True, False, False]
    assert not np.any(accounts.taken_over[1:])
    assert accounts.contracts[0, 1, 0, 0, 0] == -100.0


def test_winners_are_closed_at_the_bankruptcy_price(case, column):
    accounts, markets, _, paid = settled(case, column, fund=0.0)
    assert paid["adl_loss"] == pytest.approx(10.0)
    assert paid["adl_notional"] == pytest.approx(80.0)
    assert paid["adl_overshoot_contracts"] == 0
    assert paid["adl_overshoot_wealth"] == pytest.approx(20.0 - 10.0)
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([0.0, 0.0])
    # the long's debt equals its collateral; the short was paid 20 and charged 10
    assert accounts.cash[:2, 0, 0, 0] == pytest.approx([-10.0, 60.0 + 20.0 - 10.0])
    assert markets.maker_units[4, 0, 0] == pytest.approx(0.0)


def test_the_fund_pays_its_share_and_winners_the_rest(case, column):
    accounts, _, fund, paid = settled(case, column, fund=4.0)
    assert paid["insurance_drawn"] == pytest.approx(4.0)
    assert paid["adl_loss"] == pytest.approx(6.0)
    assert paid["adl_notional"] == pytest.approx(60 * 0.8)
    assert fund[0, 0, 0] == pytest.approx(0.0)
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([40.0, -40.0])


def test_winners_are_closed_pro_rata(case, column):
    accounts, _, _, paid = settled(case, column, fund=0.0, shorts=[-150.0, -40.0, -10.0])
    assert accounts.contracts[0, 1, :, 0, 0] == pytest.approx([-75.0, -20.0, -5.0])
    assert paid["adl_loss"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("held", "by_winners"), [(1e-2, 10.0), (2e-6, 10.0), (5e-7, 0.0), (1e-17, 0.0), (0.0, 0.0)]
)
def test_a_rounding_of_contracts_has_no_deficit_with_it(case, column, held, by_winners):
    *_, paid = settled(case, column, fund=0.0, held=held)
    assert paid["bad_debt"] == pytest.approx(10.0)
    assert paid["adl_loss"] == pytest.approx(by_winners)
    assert paid["socialised_loss"] == pytest.approx(10.0 - by_winners)


QUEUE = np.array([[1.0], [0.0]])


@pytest.mark.parametrize(
    ("cash", "left"),
    [
        # E0 = cash + a fifth of the contracts; the least equity a contract is first
        ([100.0, 20.0, 40.0], [-100.0, 0.0, 0.0]),
        ([50.0, 30.0, 30.0], [0.0, -50.0, -50.0]),
        ([60.0, 30.0, 30.0], [-50.0, -25.0, -25.0]),  # ties pro rata
        ([0.0, 60.0, 60.0], [0.0, -50.0, -50.0]),  # the first alone is enough
    ],
)
def test_a_queue_closes_the_winners_that_stand_first(case, column, cash, left):
    shorts = [-100.0, -50.0, -50.0]
    accounts, _, _, paid = settled(
        case, column, fund=0.0, shorts=shorts, short_cash=np.array(cash), queue=QUEUE
    )
    assert accounts.contracts[0, 1, :, 0, 0] == pytest.approx(left, abs=1e-4)
    assert paid["adl_loss"] == pytest.approx(10.0)
    assert paid["adl_notional"] == pytest.approx(80.0)
    assert paid["adl_overshoot_contracts"] == 0
    assert paid["adl_overshoot_wealth"] == pytest.approx(20.0 - 10.0)


def test_a_queue_that_is_too_short_is_closed_whole(case, column):
    # the first short is due itself, and makers are flat
    accounts, markets, _, paid = settled(
        case, column, fund=0.0, shorts=[-70.0, -30.0, 0.0], winner_due=True, queue=QUEUE
    )
    assert accounts.contracts[0, 1, :2, 0, 0] == pytest.approx([-70.0, 0.0])
    assert paid["adl_loss"] == pytest.approx(3.0)  # a tenth for each of 30 contracts
    assert paid["socialised_loss"] == pytest.approx(7.0)
    assert markets.maker_units[4, 0, 0] == pytest.approx(70.0)


def test_market_makers_stand_in_the_queue_as_accounts_without_leverage(case, column):
    # makers are short 60 at 1: score 0.2; shorts have 0.16 / (cash + 0.2) a contract
    shorts = [-20.0, -20.0, 0.0]
    accounts, markets, _, _ = settled(
        case, column, fund=0.0, shorts=shorts, short_cash=np.array([0.0, 60.0, 0.0]), queue=QUEUE
    )
    # 20 of the first short, 60 of the makers, 20 of the last
    assert accounts.contracts[0, 1, :2, 0, 0] == pytest.approx([0.0, 0.0], abs=1e-5)
    assert markets.maker_units[4, 0, 0] == pytest.approx(0.0, abs=1e-5)


def test_contracts_without_a_winner_go_to_market_makers(case, column):
    # who is due is no winner, and makers, flat at the start, have gained nothing
    accounts, markets, _, paid = settled(case, column, fund=0.0, winner_due=True)
    assert paid["adl_loss"] == 0
    assert paid["adl_notional"] == 0
    assert accounts.contracts[0, :2, 0, 0, 0] == pytest.approx([0.0, -100.0])
    assert markets.maker_units[4, 0, 0] == pytest.approx(100.0)
    assert markets.maker_cash[4, 0, 0] == pytest.approx(-80.0)
    # the short still has equity, and that is charged
    assert paid["socialised_loss"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("short_cash", "socialised", "unabsorbed", "left"),
    [(60.0, 10.0, 0.0, 50.0), (-16.0, 4.0, 6.0, -20.0), (-25.0, 0.0, 10.0, -25.0)],
)
def test_what_is_left_is_socialised(case, column, short_cash, socialised, unabsorbed, left):
    accounts, _, _, paid = settled(case, column, fund=0.0, adl=0.0, short_cash=short_cash)
    assert paid["socialised_loss"] == pytest.approx(socialised)
    assert paid["unabsorbed_loss"] == pytest.approx(unabsorbed)
    assert accounts.cash[1, 0, 0, 0] == pytest.approx(left)
    assert accounts.contracts[0, 0, 0, 0, 0] == 100.0


def test_an_account_that_is_not_due_is_left_alone(case, column):
    accounts, _, fund, paid = settled(case, column, fund=15.0, due=False)
    assert paid["bad_debt"] == 0
    assert fund[0, 0, 0] == 15.0
    assert not np.any(accounts.taken_over)


def test_leftovers_of_the_taken_over_go_to_the_fund(case, column):
    world = case(books__position=0.0, books__collateral=0.0, backstop__fund=3.0)
    held = eqx.tree_at(
        lambda a: (a.taken_over, a.cash),
        world.state.accounts,
        (jnp.ones((3, 3, 1, 1), bool), jnp.ones((3, 3, 1, 1)) * 2),
    )
    due = jnp.zeros((3, 3, 1, 1), bool).at[:2].set(True)
    accounts, _, fund, _, losses = absorbed(world, held, due, world.state.fund, column(*PRICE))
    assert fund[0, 0, 0] == pytest.approx(3.0 + 12.0)
    assert losses.swept[0, 0, 0] == pytest.approx(12.0)
    assert not np.any(accounts.cash[:2])
