"""Venue, asset and kind of joined labels, each a coordinate beside them.

Only some venues list some assets. Dims `venue` and `asset` would be filled up with NaN, and NaN is
how the dataset says that a unit is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_OF = {"market": "the market", "index": "the index", "peg": "the pegged spot price"}
_PARTS = {
    "market": ("venue", "asset", "kind"),
    "index": ("venue", "asset"),
    "peg": ("venue", "asset"),
}


class LabelPart(NamedTuple):
    """One part of every label of a dimension, such as `market_asset`."""

    name: str
    dim: str
    values: list[str]
    long_name: str


def label_parts(labels: Mapping[str, Sequence[str]]) -> Iterator[LabelPart]:
    """The parts of the labels of `market`, `index` and `peg`.

    Args:
        labels: Labels by dimension, such as `exchange/BTC/perp`. The asset of a market between two
            assets, `exchange/WBETH-ETH/spot`, is the first of them.
    """
    for dim, parts in _PARTS.items():
        split = [label.split("/") for label in labels.get(dim, ())]
        for place, part in enumerate(parts):
            values = [words[place] for words in split]
            if part == "asset":
                values = [pair.partition("-")[0] for pair in values]
            yield LabelPart(f"{dim}_{part}", dim, values, f"{part.capitalize()} of {_OF[dim]}")
