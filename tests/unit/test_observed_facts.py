"""The observed values that ship with the package fit the dataset they are set beside."""

from pathlib import Path

import pytest

from deleverage.analysis.facts import observed_facts
from deleverage.config import build, load_config
from deleverage.results import VARIABLES

FACTS = observed_facts("oct10")


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["label"])
def test_a_fact_names_a_stored_variable_in_full(fact):
    variable = VARIABLES[fact["variable"]]
    assert set(fact["selection"]) == set(variable.dims) - {"policy", "path"}
    assert variable.default
    assert fact["low"] < fact["high"]
    assert fact["source"]


def test_the_labels_are_those_of_the_day():
    built = build(load_config(Path(__file__).parents[2] / "configs" / "oct10.yaml"))
    for fact in FACTS:
        for dim, label in fact["selection"].items():
            assert label in built.labels[dim], fact["label"]


def test_another_config_has_no_observed_day():
    assert observed_facts("smoke") == []
