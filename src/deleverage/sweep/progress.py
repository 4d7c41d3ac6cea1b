"""Progress: a bar with rate and time left on a terminal, a line every 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_SECONDS = 30.0


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """Counts path-policies; shows nothing when it is switched off."""

    def __init__(self, name: str, total: int, done: int, show: bool = True) -> None:
        """Begin at `done` of `total` path-policies."""
        self._name = name
        self._total = total
        self._first = self._done = done
        self._show = show
        self._began = self._last_line = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    @property
    def rate(self) -> float:
        """Path-policies a second since this driver began."""
        return (self._done - self._first) / max(time.monotonic() - self._began, 1e-9)

    def __enter__(self) -> Progress:
        """Show the bar, if this is a terminal."""
        if self._show and sys.stderr.isatty():
            self._open_bar()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away and say how it ended."""
        if self._bar is not None:
            self._bar.stop()
        if self._show and self._done > self._first:
            self._line()

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(
            self._name, total=self._total, completed=self._done, speed="compiling"
        )
        self._bar.start()

    def advance(self, size: int) -> None:
        """Count the path-policies of a finished unit."""
        self._done += size
        self.tick()

    def extend(self, total: int) -> None:
        """Go on to a larger number of path-policies."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def tick(self) -> None:
        """Refresh, or print the line that is due."""
        if self._bar is not None and self._task is not None:
            if self._done > self._first:
                self._bar.update(self._task, completed=self._done, speed=self._speed())
        elif self._show and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._line()

    def _speed(self) -> str:
        left = (self._total - self._done) / self.rate if self.rate else 0.0
        return f"{self.rate:,.0f} path-policies/s, {duration(left)} left"

    def _line(self) -> None:
        elapsed = duration(time.monotonic() - self._began)
        percent = 100 * self._done / max(self._total, 1)
        speed = f", {self._speed()}" if self._done > self._first else ""
        print(
            f"{self._name}: {percent:.0f}% ({self._done:,} of {self._total:,} path-policies) "
            f"after {elapsed}{speed}",
            file=sys.stderr,
            flush=True,
        )
