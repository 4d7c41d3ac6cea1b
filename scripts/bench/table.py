"""The benchmark's report as text."""

from __future__ import annotations

from typing import Any

from agreement import NEAR, TOLERANCE
from counted import of_series, of_step


def table(report: dict[str, Any]) -> str:
    """Machine, start-up, agreement, cost and rows."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, load "
        f"{machine['load_before']:.1f} before; commit {report['commit']}, {report['date']}",
        ", ".join(f"{name} {number}" for name, number in report["versions"].items()),
        "",
        *_startup(report["startup"]),
        "",
        *_agreement(report["agreement"]),
        "",
        *_cost(report["cost"], report["peak"]),
        "",
        *_rows(report["rows"]),
        "",
        f"All of it took {report['seconds']:.0f} s.",
    ]
    return "\n".join(lines)


def _startup(startup: list[dict[str, Any]]) -> list[str]:
    """The first core that starts a program of the engine compiles it, the others find it made."""
    lines = [f"{'start-up, seconds':20}{'core':>6}{'start':>9}{'compile':>9}"]
    lines += [
        f"{one['program']:20}{one['core']:>6}{one['start']:>9.1f}{one['compile']:>9.1f}"
        for one in startup
    ]
    return lines


def _agreement(agreement: list[dict[str, Any]]) -> list[str]:
    head = f"{'the same outcomes?':20}{'columns':>8}{'near':>8}{'apart':>8}{'error':>10}"
    lines = [
        f"{one['program'] + ' and ' + one['with']:20}{one['columns']:>8}{one['near']:>8.1%}"
        f"{one['apart']:>8.1%}{one['largest_error']:>10.1e}"
        for one in agreement
    ]
    return [
        head,
        *lines,
        f"near: within {NEAR:g} of a margin, left out. apart: of the others, an outcome differs by "
        f"more than {TOLERANCE:g}",
        "of itself plus its mean plus 1. error: the largest of those that agree.",
    ]


def _cost(cost: dict[str, float], peak: dict[str, float]) -> list[str]:
    step, series = (
        " and ".join(f"{of(cost, what):,.0f} {what}" for what in ("operations", "bytes"))
        for of in (of_step, of_series)
    )
    return [
        f"XLA counts {step} a step and path-policy (of loops over cohorts one round),",
        f"{series} a path for its draws and series; {cost['temporary_mb']:.1f} MB a tile.",
        f"Peak of the machine: {peak['operations'] / 1e9:,.0f} Gflop/s (float32 matrix product), "
        f"{peak['bytes'] / 1e9:,.1f} GB/s (copy).",
        f"The engine's first row, so counted, does {cost['share_of_peak_operations']:.0%} of the "
        f"operations and {cost['share_of_peak_bytes']:.0%} of the bytes: XLA counts both sides of "
        "branches, of which one is run, and most bytes stay in the caches.",
    ]


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    head = (
        f"{'program':10}{'config':12}{'policies':>9}{'paths':>10}{'seconds':>9}{'spread':>8}"
        f"{'path-policies/s':>17}{'cohort-steps/s':>16}{'cores busy':>12}{'peak MB':>9}"
    )
    return [
        head,
        *(
            f"{row['program']:10}{row['config']:12}{row['policies']:>9}{row['paths']:>10,}"
            f"{row['seconds']:>9.2f}{row['spread']:>8.2f}"
            f"{row['path_policies_per_second']:>17,.1f}{row['cohort_steps_per_second']:>16,.0f}"
            f"{row['busy_cores']:>12.2f}{row['peak_memory_mb']:>9,.0f}"
            for row in rows
        ),
    ]
