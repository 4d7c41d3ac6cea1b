"""What each mechanism costs in time: entries of a config, each beside the baseline.

    python scripts/bench/mechanisms.py [NAME ...] [--json FILE] [--config FILE]

Each entry of `configs/bench/mechanisms.yaml` is a program of its own where it switches something
on, as a mechanism that is off costs nothing in a program. All programs are compiled first, one a
core at a time, and kept where deleverage keeps them. Then each entry runs on one core, in every
lane of a tile, in turns with the baseline. Numbers are processor seconds over those of the
baseline's run just before: medians over the repeats, and the largest over the smallest.

With `--json` a run that was killed goes on where it stopped, and entries that have changed are
measured again; at the end the table that MODEL.md holds goes to standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from machine import cores  # noqa: E402
from mechanism_report import Report, table  # noqa: E402
from mechanism_rows import BASELINE, row_names  # noqa: E402
from pool import Served  # noqa: E402

from deleverage.errors import ConfigError  # noqa: E402

CONFIG = ROOT / "configs" / "bench" / "mechanisms.yaml"
WORKER = Path(__file__).parent / "mechanism_worker.py"
SEARCHED = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
PATHS, REPEATS = 64, 5
ROWS_A_PROCESS = 12
"""A compiled program has two thousand memory mappings and Linux allows a process 65,530; a process
lets go of programs only at its end."""


def main() -> int:
    """Measure, print, write."""
    options = _options()
    try:
        names = row_names(options.config)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        known = ", ".join(names)
        sys.exit(f"error: '{unknown[0]}' is no row of {options.config}; there are {known}.")
    wanted = [name for name in names if name in (options.names or names)]
    report = Report(options.json, options.config, options.paths, options.repeats)
    left = [name for name in wanted if not report.has(name)]
    failed = measured(left, report, options) if left else {}
    print(table([report.row(name) for name in wanted if report.has(name)]))
    for name, reason in failed.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def measured(left: list[str], report: Report, options: argparse.Namespace) -> dict[str, str]:
    """Compile rows, then time them one after the other; why rows are missing, by name."""
    began = time.perf_counter()
    failed = {}
    ahead = [BASELINE, *left] if options.workers else []
    for number, (name, answer) in enumerate(compiled(ahead, options)):
        _say(f"{number}/{len(left)} compiled {name}", answer, "{seconds:.1f} s", began)
        if "error" in answer:
            failed[name] = answer["error"]
    ready = [name for name in left if name not in failed] if BASELINE not in failed else []
    for number, name, answer in timed(ready, options):
        form = "{over_baseline:.2f} of the baseline, spread {spread:.2f}"
        _say(f"{number + 1}/{len(ready)} timed {name}", answer, form, began)
        if "error" in answer:
            failed[name] = answer["error"]
        else:
            report.add(name, answer)
    return failed


def compiled(
    names: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Programs of rows, some cores at once; each with what its worker answers, in order."""
    names = list(dict.fromkeys(names))
    some = cores()[: options.workers]
    free = [_Restarting(core, options) for core in some]

    def one(name: str) -> dict[str, Any]:
        worker = free.pop()  # as many threads as workers
        try:
            return worker.ask({"compile": name})
        finally:
            free.append(worker)

    with ThreadPoolExecutor(max(1, len(some))) as threads:
        yield from zip(names, threads.map(one, names), strict=True)
    for worker in free:
        worker.close()


def timed(
    names: list[str], options: argparse.Namespace
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Rows one after the other on the last core, with what their worker answers."""
    worker = _Restarting(cores()[-1], options)
    for number, name in enumerate(names):
        yield number, name, worker.ask({"time": name, "repeats": options.repeats})
    worker.close()


class _Restarting:
    """A worker on a core, started when it is asked: at first, after some rows, after its death."""

    def __init__(self, core: int, options: argparse.Namespace) -> None:
        self._script = [str(WORKER), str(options.config), str(core), str(options.paths)]
        self._served: Served | None = None
        self._asked = 0

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        if self._asked % ROWS_A_PROCESS == 0:
            self.close()
        try:
            self._served = self._served or Served(self._script, {"PYTHONPATH": SEARCHED})
            return self._served.ask(task)
        except (RuntimeError, OSError) as error:
            self._served = None
            return {"error": str(error)}

    def close(self) -> None:
        if self._served is not None:
            self._served.close()
            self._served = None


def _say(what: str, answer: dict[str, Any], form: str, began: float) -> None:
    found = answer.get("error") or form.format(**answer)
    spent = time.perf_counter() - began
    print(f"{spent:6.0f} s  {what}: {found}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to measure; all")
    parser.add_argument("--json", type=Path, help="where rows are kept, and taken up again")
    parser.add_argument("--config", type=Path, default=CONFIG, help="whose policies are the rows")
    parser.add_argument("--paths", type=int, default=PATHS, help="of a tile")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each pair of runs")
    parser.add_argument("--workers", type=int, default=len(cores()), help="that compile ahead")
    options = parser.parse_args()
    for name, least in (("paths", 1), ("repeats", 1), ("workers", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)}: at least {least} is allowed")
    return options


if __name__ == "__main__":
    sys.exit(main())
