"""Every config that is shipped can be read, written back and built."""

from pathlib import Path

import pytest

from deleverage.config import build, load_config

CONFIGS = Path(__file__).parents[3] / "configs"
FILES = sorted([*CONFIGS.glob("*.yaml"), *(CONFIGS / "limits").glob("*.yaml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_is_read_built_and_written_back(path, tmp_path):
    config = load_config(path)
    assert config.name == path.stem
    built = build(config)
    again = tmp_path / "config.yaml"
    again.write_text(config.resolved_yaml())
    assert load_config(again).identity() == config.identity()
    starts_due = path.stem in ("liquidation_pace", "slicing", "book_shapes")
    due = [policy.reporting.due_at_start.any() for _, policy, *_ in built.groups]
    assert any(due) == starts_due


def test_the_default_scenario_has_its_size():
    built = build(load_config(CONFIGS / "oct10.yaml"))
    layout = built.world.layout
    assert len(layout.venues) == 4
    assert layout.assets[1:] == (
        *("BTC", "ETH", "SOL", "ALT_LARGE", "ALT_MID", "ALT_SMALL"),
        *("USDe", "WBETH", "BNSOL"),
    )
    assert built.account["cohorts"] == 248
    assert (layout.steps, layout.step) == (240, 0.5)
    assert len(built.labels["policy"]) == 16
    assert built.account["open_interest"] == pytest.approx(217_000)
    assert len(built.groups) == 1
    assert {len(book.perps) for book in layout.books} <= {0, 1, 2}
    assert {len(book.collateral) for book in layout.books} <= {0, 1, 2}


def test_every_fact_that_a_scenario_cites_is_shipped():
    import csv
    import re
    from importlib.resources import files

    rows = files("deleverage").joinpath("data/event_facts.csv").read_text().splitlines()
    known = {row["id"] for row in csv.DictReader(rows)}
    text = "".join(path.read_text() for path in CONFIGS.rglob("*.yaml"))
    cited = set(re.findall(r"\bF\d{3}\b", text))
    assert cited
    assert cited <= known
