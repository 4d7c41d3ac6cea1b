"""Assumptions of MODEL.md: numbered without gaps, stated once, cited where they are made."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "src/deleverage/MODEL.md"
NUMBER = re.compile(r"\bA(\d+)\b")
STATEMENT = re.compile(r"(?<!`)\bA(\d+)(?::| (?=[A-Z`]))")
"""`A2: text`, or `A1 Text`, unquoted; anything else, such as `(A1)`, is a mention."""

STATED = [int(n) for n in STATEMENT.findall(MODEL.read_text())]


def cited_in(folder: str, *suffixes: str) -> Iterator[tuple[int, Path]]:
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in suffixes:
            for number in NUMBER.findall(path.read_text()):
                yield int(number), path


def test_assumptions_are_numbered_without_gaps_and_stated_once():
    assert sorted(STATED) == list(range(1, len(STATED) + 1))


def test_a_mention_is_no_statement():
    given = "A1 Backing. (A2: at most one) A3 `x` is. (A4) A5, A6. As in A7 and A8, or `A9: text`"
    assert STATEMENT.findall(given) == ["1", "2", "3"]


def test_every_cited_assumption_is_stated():
    cited = dict(
        found
        for folder in ("src", "tests", "configs")
        for found in cited_in(folder, ".py", ".yaml", ".md")
    )
    assert {number: path for number, path in cited.items() if number not in STATED} == {}


def test_every_assumption_is_cited_where_it_is_made():
    made = {number for number, _ in [*cited_in("src", ".py"), *cited_in("configs", ".yaml")]}
    assert sorted(set(STATED) - made) == []
