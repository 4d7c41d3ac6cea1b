"""Assumptions of MODEL.md: numbered without gaps, and every number that is cited is one of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\bA(\d+)\b")
STATED = {int(n) for n in NUMBER.findall((ROOT / "src/deleverage/MODEL.md").read_text())}


def test_assumptions_are_numbered_without_gaps():
    assert sorted(STATED) == list(range(1, len(STATED) + 1))


def test_every_cited_assumption_is_stated():
    cited = {}
    for folder in ("src", "tests", "configs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".md"):
                for number in NUMBER.findall(path.read_text()):
                    cited.setdefault(int(number), path)
    assert {number: path for number, path in cited.items() if number not in STATED} == {}
