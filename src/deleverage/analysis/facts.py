"""What was observed on the day, as shipped with the package: `data/observed.csv`."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any


def observed_facts(config_name: str) -> list[dict[str, Any]]:
    """Facts to set beside the baseline of a config; none where the config is of no observed day.

    Returns:
        Entries with label, variable, selection (labels by dimension), observed (text), low and
        high (the observed band, in the unit of the variable) and source.
    """
    text = (files("deleverage") / "data" / "observed.csv").read_text(encoding="utf-8")
    return [
        {
            **row,
            "selection": _selection(row["selection"]),
            "low": float(row["low"]),
            "high": float(row["high"]),
        }
        for row in csv.DictReader(text.splitlines())
        if row["config"] == config_name
    ]


def _selection(text: str) -> dict[str, str | float]:
    """`dim=label;...` as labels of the dataset: thresholds are numbers there."""
    labels = dict(part.split("=") for part in text.split(";") if part)
    return {dim: float(label) if dim == "threshold" else label for dim, label in labels.items()}
