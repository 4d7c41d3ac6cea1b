"""The points of a search, round by round, on disk before they are simulated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from deleverage.config.sweep import label_of
from deleverage.results.files import replace_text
from deleverage.sweep.adaptive import rule

FILE = "rounds.json"

Point = dict[str, Any]
"""A value for every lever, as written."""


class Ledger:
    """What a search has decided to try.

    Args:
        folder: Folder of the search.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.rounds: list[list[Point]] = []
        if self._file.exists():
            self.rounds = json.loads(self._file.read_text(encoding="utf-8"))

    @property
    def points(self) -> dict[str, Point]:
        """All points by label, in the order of the policy axis."""
        return {label_of(point): point for points in self.rounds for point in points}

    @property
    def round_of(self) -> dict[str, int]:
        """The round in which each label was tried."""
        return {label_of(p): number for number, points in enumerate(self.rounds) for p in points}

    def add(self, points: list[Point]) -> None:
        """Keep another round, so that whoever continues simulates the same."""
        self.rounds.append(points)
        replace_text(self._file, json.dumps(self.rounds, indent=1) + "\n")


def folder_of(config: Any, out: str | Path) -> Path:
    """The folder of a search: another one for any other question, budget or seed."""
    asked = {
        "identity": config.identity(),
        "policies": config.policy_hashes(),
        "search": config.search.model_dump(mode="json"),
        "paths": rule(config) or config.paths,
    }
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Path(out) / f"{config.name}-search-{digest[:8]}"
