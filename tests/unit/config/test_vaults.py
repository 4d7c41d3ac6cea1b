"""Vaults in a config: what a policy makes of them, and which are refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
OWN = "scenario.venues.exchange.backstop.vault={capacity: 30M, half_life: 10m}"


def built(*changes):
    return build(load_config(SMOKE, changes))


def test_without_a_vault_nothing_is_modelled():
    assert built().policy.vault is None
    lever = "policies.x.backstop.exchange.vault={capacity: 0}"
    assert built(lever).policy.vault is None


def test_a_policy_lays_its_numbers_over_the_venues():
    found = built(
        OWN,
        "policies.larger.backstop.exchange.vault.capacity=200M",
        "policies.keeps.backstop.exchange.vault.half_life=none",
        "policies.without.backstop.exchange.vault.capacity=0",
    )
    rules, labels = found.policy.vault, found.labels["policy"]
    (venue,) = np.flatnonzero(rules.capacity[:, 0])
    assert found.labels["venue"][venue] == "exchange"
    by_label = {
        label: (rules.capacity[venue, n], rules.half_life[venue, n])
        for n, label in enumerate(labels)
    }
    assert by_label["baseline"] == (30.0, 10.0)
    assert by_label["larger"] == (200.0, 10.0)
    assert by_label["keeps"] == (30.0, 1e30)
    assert by_label["without"][0] == 0.0
    assert not np.delete(rules.capacity, venue, axis=0).any()
    assert found.policy_variables["vault_size"].tolist() == [by_label[label][0] for label in labels]


def test_a_sweep_reaches_the_capacity():
    found = built(OWN, "sweep.grid.backstop.exchange.vault.capacity=[0, 100M, 1bn]")
    assert found.policy.vault.capacity.max(axis=0)[-3:].tolist() == [0.0, 100.0, 1000.0]
    assert found.policy_coords["backstop.exchange.vault.capacity"][-3:].tolist() == [0, 1e8, 1e9]


X = "policies.x.backstop.exchange.vault"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [f"{X}={{capacity: 10M}}"],
            "policies.x.backstop.exchange.vault: a vault of 'exchange' without a half_life; "
            "allowed is both capacity and half_life, from the venue or the policy; "
            "add `half_life: 10m`",
        ),
        ([f"{X}={{half_life: 10m}}"], "exchange.vault: a vault of 'exchange' without a capacity"),
        (
            ["scenario.venues.exchange.backstop.vault={capacity: 10M}"],
            "scenario.venues.exchange.backstop.vault: a vault of 'exchange' without a half_life",
        ),
        ([f"{X}={{}}"], "exchange.vault: a vault of nothing; allowed is capacity and half_life"),
        ([f"{X}={{capacity: -1}}"], "exchange.vault.capacity: -1 came"),
        ([f"{X}={{capacity: 10M, half_life: 0s}}"], "exchange.vault.half_life: '0s' came"),
        ([f"{X}={{capacity: 10M, pace: 10%}}"], "exchange.vault.pace: the key 'pace' is unknown"),
    ],
)
def test_a_vault_that_cannot_be_is_refused(changes, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(SMOKE, changes)


def test_a_vault_needs_perps_to_take_over():
    onchain = "policies.baseline.backstop.onchain.vault={capacity: 1M, half_life: 1m}"
    with pytest.raises(ConfigError, match=r"a vault of 'onchain', where no perp is .*exch"):
        load_config(SMOKE.with_name("oct10.yaml"), [onchain])
