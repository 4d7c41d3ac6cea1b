"""The cascade in C, built for one layout with the compiler of this machine.

`layout.h` carries the layout as constants, as a compiled JAX program does, and the structs that
Python fills. The package has no part in this.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import NO_COMPILER, compiler
from numba_program import LEFT_OUT
from reference_world import INDEX, LAST, Maps, Outcomes, Rules, Shocks

HERE = Path(__file__).parent
OPTIONS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")


class CProgram:
    """Compiled for a layout, a float type and the numbers of tiers of some policies.

    Args:
        maps: The layout.
        shocks: Numbers of the exogenous shocks.
        rules: One a policy.
        venues: How many.
        dtype: `float32` or `float64`.
        jumps: Whether the world has jumps.
        folder: Where to build.

    Raises:
        FileNotFoundError: If there is no compiler.
    """

    def __init__(
        self,
        maps: Maps,
        shocks: Shocks,
        rules: Sequence[Rules],
        venues: int,
        dtype: np.dtype,
        jumps: bool,
        folder: Path,
    ) -> None:
        self._dtype = dtype
        numbers = [_rules(maps, one) for one in rules]
        self._rules = np.stack([_packed(one, dtype) for one in numbers])
        fixed = _shocks(maps, shocks)
        self._shocks = _packed(fixed, np.dtype("float64"))
        self._outcomes = _outcome_shapes(maps, rules[0], venues)
        self._size = sum(_count(shape) for shape in self._outcomes.values())
        header = [
            *_sizes(maps, shocks, rules[0], venues, dtype, jumps),
            *_tables(maps, shocks),
            _struct("Rules", "real", {name: value.shape for name, value in numbers[0].items()}),
            _struct("Shocks", "double", {name: value.shape for name, value in fixed.items()}),
            _struct("Outcomes", "real", self._outcomes),
            "typedef struct { const real *diffusion, *macro, *jump_uniform, *jump_normal, "
            "*liquidity, *outage; } Draws;",
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "layout.h").write_text("\n".join(header) + "\n")
        self._simulate = _built(folder)

    def simulate(self, policies: int, draws: Any) -> dict[str, np.ndarray]:
        """Outcomes by name, `(policy, path, ...)`, of the first policies."""
        names = ("diffusion", "macro", "jump_uniform", "jump_normal", "liquidity", "outage")
        kept = [_typed(getattr(draws, name), self._dtype) for name in names]
        pointers = (ctypes.c_void_p * len(kept))(
            *(None if one is None else one.ctypes.data for one in kept)
        )
        paths = kept[1].shape[-1]
        out = np.empty((policies, paths, self._size), self._dtype)
        self._simulate(
            ctypes.c_void_p(self._rules.ctypes.data),
            policies,
            ctypes.c_void_p(self._shocks.ctypes.data),
            ctypes.byref(pointers),
            paths,
            ctypes.c_void_p(out.ctypes.data),
        )
        found, first = {}, 0
        for name, shape in self._outcomes.items():
            size = _count(shape)
            found[name] = out[..., first : first + size].reshape(policies, paths, *shape)
            first += size
        return found


def _typed(values: Any, dtype: np.dtype) -> np.ndarray | None:
    return None if values is None else np.ascontiguousarray(values, dtype)


def _count(shape: tuple[int, ...]) -> int:
    """Numbers in a field; C has no arrays of none."""
    return int(np.prod([max(1, size) for size in shape]))


def _packed(fields: Mapping[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
    parts = [np.zeros(1) if value.size == 0 else np.ravel(value) for value in fields.values()]
    return np.concatenate(parts).astype(dtype)


def _struct(name: str, kind: str, fields: Mapping[str, tuple[int, ...]]) -> str:
    lines = []
    for field, shape in fields.items():
        shape = shape if _count(shape) == np.prod(shape) else (1,)
        lines.append(f"{kind} {field}" + "".join(f"[{size}]" for size in shape) + ";")
    return f"typedef struct {{ {' '.join(lines)} }} {name};"


def _built(folder: Path) -> Any:
    command = compiler()
    if command is None:
        raise FileNotFoundError(NO_COMPILER)
    library = folder / "cascade.so"
    source = [str(HERE / "cascade.c"), "-I", str(folder), "-I", str(HERE)]
    shared = ["-shared", "-fPIC", "-o", str(library), "-lm"]
    subprocess.run([command, *OPTIONS, *source, *shared], check=True)
    simulate = ctypes.CDLL(str(library)).simulate
    simulate.restype = None
    return simulate


def _lanes(maps: Maps) -> int:
    """Buckets of a book, made up with empty ones to a width that vectors come in."""
    return 1 << (maps.buckets - 1).bit_length()


def _rules(maps: Maps, rules: Rules) -> dict[str, np.ndarray]:
    """A policy's numbers, those that depend on nothing else worked out."""
    fields: dict[str, np.ndarray] = {}
    for name, value in rules._asdict().items():
        if name in ("margin", "baseline_margin"):
            for part, numbers in value._asdict().items():
                fields[f"{name}_{part}"] = np.asarray(numbers)
            for part in ("deduction", "addition"):
                per_account = fields[f"{name}_{part}"][..., None]
                fields[f"{name}_{part}"] = per_account * rules.accounts
        elif name not in ("reach", "distance", "units"):  # of other kinds of order book
            fields[name] = np.asarray(value)
    cohorts = (*np.shape(rules.cash)[:-1], maps.buckets)
    for name, value in fields.items():
        if value.shape[-2:] == cohorts:
            empty = [(0, 0)] * (value.ndim - 1) + [(0, _lanes(maps) - maps.buckets)]
            fields[name] = np.pad(value, empty)
    fields["pace"] = np.minimum(1, rules.pace * maps.step)
    fields["resilience_rate"] = maps.step / rules.resilience_half_life
    fields["basis_share"] = 1 - np.exp2(-maps.step / rules.basis_half_life)
    fields["arbitrage_share"] = 1 - np.exp2(-maps.step / rules.arbitrage_half_life)
    return fields


def _shocks(maps: Maps, shocks: Shocks) -> dict[str, np.ndarray]:
    """The shocks' numbers; what assets take over from their anchors is passed on here, once."""
    g, anchor = maps.draw_step, shocks.anchor
    chance = -np.expm1(-shocks.jump_rate * g)
    exponent = shocks.jump_loading * shocks.jump_mean
    exponent = exponent + (shocks.jump_loading * shocks.jump_deviation) ** 2 / 2
    fields = {name: np.asarray(value, float) for name, value in shocks._asdict().items()}
    return fields | {
        "jump_chance": np.asarray(chance),
        "loading": anchor @ shocks.loading,
        "variance": anchor @ (shocks.loading**2).sum(axis=1),
        "trend": anchor @ (shocks.drift * g - np.log1p(chance * np.expm1(exponent))),
        "jump_loading": anchor @ shocks.jump_loading,
        "macro_loading": anchor @ shocks.macro_loading,
    }


def _outcome_shapes(maps: Maps, rules: Rules, venues: int) -> dict[str, tuple[int, ...]]:
    markets, entries = len(maps.market_asset), len(maps.entry_asset)
    shapes: dict[str, tuple[int, ...]] = {
        "liquidated_notional_by_market": (markets,),
        "collateral_sold": (len(maps.is_pegged),),
        "equity_lost": (venues,),
        "trough_price": (markets,),
        "wick_price": (markets,),
        "trough_time": (markets,),
        "trough_index": (entries,),
        "depeg_minutes": (len(maps.peg_markets), len(maps.thresholds)),
        "wrongful_liquidations": (2,),
    }
    names = [n for n in Outcomes._fields if not n.endswith("branch_gap") and n not in LEFT_OUT]
    found = {name: shapes.get(name, ()) for name in names}
    paired = {"reproduction_number": (), "exogenous_liquidations": ()}
    return found | {"amplification": (markets,)} | paired


def _sizes(
    maps: Maps, shocks: Shocks, rules: Rules, venues: int, dtype: np.dtype, jumps: bool
) -> list[str]:
    numbers = {
        "SINGLE": int(dtype == np.float32),
        "STEPS": maps.steps,
        "STEP": maps.step,
        "DRAW_STEP": maps.draw_step,
        "DRAWS_PER_STEP": round(maps.step / maps.draw_step),
        "WINDOW": maps.window_steps,
        "ASSETS": len(maps.is_pegged),
        "FACTORS": shocks.loading.shape[1],
        "VENUES": venues,
        "MARKETS": len(maps.market_asset),
        "ENTRIES": len(maps.entry_asset),
        "SOURCES": maps.sources.shape[1],
        "BOOKS": len(maps.book_venue),
        "BUCKETS": _lanes(maps),
        "PERPS": rules.position.shape[0],
        "PLEDGES": rules.collateral.shape[0],
        "TIERS_UP": rules.margin.rate.shape[1],
        "TIERS_DOWN": rules.margin.ratio.shape[1],
        "PAIRS": len(maps.basis_pairs),
        "GROUPS": len(maps.arbitrage_groups),
        "MEMBERS": max(1, maps.arbitrage_groups.shape[1]),
        "PEGGED_COUNT": len(maps.pegged),
        "PEG_COUNT": len(maps.peg_markets),
        "THRESHOLDS": len(maps.thresholds),
        "LAW": shocks.law,
        "JUMPS": int(jumps),
        "OUTAGES": max(1, len(shocks.outage_venue)),
        "OUTAGE_COUNT": len(shocks.outage_venue),
        "MARK_INDEX": INDEX,
        "MARK_LAST": LAST,
    }
    real = "float" if dtype == np.float32 else "double"
    whole = "int" if dtype == np.float32 else "long long"
    types = [f"typedef {real} real;", f"typedef {whole} whole;"]
    return [*types, *(f"#define {name} {n}" for name, n in numbers.items())]


def _tables(maps: Maps, shocks: Shocks) -> list[str]:
    sold = [np.flatnonzero(row) for row in maps.sale_shares]
    spot = ~maps.market_is_perp
    of_issuer = [np.flatnonzero((maps.market_asset == a) & spot) for a in maps.pegged]
    table = functools.partial(_table, kind="int")
    return [
        table("MARKET_ASSET", maps.market_asset),
        table("MARKET_VENUE", maps.market_venue),
        table("QUOTE", maps.market_quote),
        table("IS_PERP", maps.market_is_perp),
        table("SAME", np.arange(len(maps.market_asset))),
        table("PERP_INDEX", np.maximum(maps.perp_index, 0)),
        table("MARK", maps.mark_kind),
        table("ENTRY_ASSET", maps.entry_asset),
        table("SOURCE", maps.sources),
        table("REFERENCE", maps.references),
        table("REFERENCE_COUNT", (maps.references >= 0).sum(axis=1)),
        _table("REFERENCE_SHARE", maps.reference_shares, "real"),
        table("SALE_COUNT", [len(row) for row in sold]),
        table("SALE_MARKET", _rows(sold)),
        _table(
            "SALE_SHARE",
            _rows([share[at] for share, at in zip(maps.sale_shares, sold, strict=True)]),
            "real",
        ),
        table("IS_PEGGED", maps.is_pegged),
        table("BOOK_VENUE", maps.book_venue),
        table("PERP", maps.perps),
        table("PERP_COUNT", (maps.perps >= 0).sum(axis=1)),
        table("PLEDGE", maps.collateral),
        table("PLEDGE_COUNT", (maps.collateral >= 0).sum(axis=1)),
        table("IS_HEDGED", maps.is_hedged),
        table("IS_TARGET", maps.is_target),
        table("PAIR_SPOT", maps.basis_pairs[:, 0]),
        table("PAIR_PERP", maps.basis_pairs[:, 1]),
        table("GROUP", maps.arbitrage_groups),
        table("GROUP_COUNT", (maps.arbitrage_groups >= 0).sum(axis=1)),
        table("PEGGED_MARKETS", [len(row) for row in of_issuer]),
        table("PEGGED_MARKET", _rows(of_issuer)),
        table("PEG_MARKET", maps.peg_markets),
        _table("THRESHOLD", maps.thresholds, "real"),
        table("OUTAGE_VENUE", shocks.outage_venue),
        table("OUTAGE_RANDOM", shocks.outage_random),
    ]


def _rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    width = max((len(row) for row in rows), default=0)
    return np.array([[*row, *[0] * (width - len(row))] for row in rows])


def _table(name: str, values: Any, kind: str) -> str:
    array = np.asarray(values)
    array = np.zeros(1) if array.size == 0 and array.ndim < 2 else array
    array = np.zeros((1, 1)) if array.size == 0 else array
    array = array.astype(int if kind == "int" else float)
    sizes = "".join(f"[{size}]" for size in array.shape)
    written = str(array.tolist()).replace("[", "{").replace("]", "}")
    return f"static const {kind} {name}{sizes} = {written};"
