"""What a config amounts to, in numbers a person can check."""

from __future__ import annotations

from typing import Any

import numpy as np

from deleverage.config.build_books import Portfolios, market_sides
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.participation import Response
from deleverage.world import Layout


def account(
    config: Config,
    names: Names,
    layout: Layout,
    books: Portfolios,
    response: Response,
    groups: int,
) -> dict[str, Any]:
    """Sizes of the baseline's world; money in USD millions."""
    sheets = response.sheets
    sides = market_sides(layout, sheets.position)
    pledged: dict[str, float] = {}
    for key, number in names.indices.items():
        label = f"{key.venue}/{key.asset}"
        pledged[label] = pledged.get(label, 0.0) + float(
            sum(
                sheets.collateral[slot, row].sum()
                for row, book in enumerate(layout.books)
                for slot, entry in enumerate(book.collateral)
                if entry == number
            )
        )
    held = {
        label: {
            "long": float(long),
            "short": float(short),
            "market_makers": float(short - long),
        }
        for label, (long, short) in zip(names.markets, sides, strict=True)
        if long or short
    }
    return {
        "paths": config.most_paths,
        "policies": len(config.entries),
        "programs": groups,
        "steps": layout.steps,
        "step_minutes": layout.step,
        "venues": len(layout.venues),
        "assets": len(layout.assets),
        "markets": len(layout.markets),
        "books": len(layout.books),
        "cohorts": int((response.own_funds > 0).sum()),
        "accounts": float(books.accounts.sum()),
        "open_interest": float(sides[:, 0].sum()),
        "debt": float(np.maximum(-sheets.cash, 0).sum()),
        "own_funds": float(response.own_funds.sum()),
        "pledged": {label: amount for label, amount in pledged.items() if amount},
        "positions": held,
    }
