"""Every claim and remedy of MODEL.md section 6 is an entry that builds on the real scenario."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import deleverage as dl

ROOT = Path(__file__).parents[3]
SECTION = (ROOT / "src/deleverage/MODEL.md").read_text().partition("## 6. The record")[2]
LINES = re.findall(r"^\| ([^|]+) \| `(\{.*\})` \|$", SECTION, re.MULTILINE)


def test_the_table_is_read():
    assert len(LINES) == SECTION.count("| `{")
    assert len(LINES) >= 30


@pytest.mark.parametrize(("claim", "entry"), LINES, ids=[claim for claim, _ in LINES])
def test_an_entry_of_the_record_is_built_and_changes_something(claim, entry, tmp_path):
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load((ROOT / "configs/oct10.yaml").read_text())
    values["scenario"] = {"include": str(ROOT / "configs/scenarios/oct10.yaml")}
    values["policies"] = {"baseline": {}, "entry": yaml.load(io.StringIO(entry))}
    path = tmp_path / "record.yaml"
    with path.open("w") as file:
        yaml.dump(values, file)
    built = dl.build(dl.load_config(path))
    assert built.labels["policy"] == ["baseline", "entry"]
    assert changes(built)


def changes(built):
    """Whether the entry differs from the baseline in any number or kind."""
    import jax
    import numpy as np

    if len(built.groups) > 1:
        return True
    (_, policy, _, own), *_ = built.groups
    leaves = jax.tree.leaves((policy, own))
    return any((np.asarray(leaf)[..., 0] != np.asarray(leaf)[..., -1]).any() for leaf in leaves)
