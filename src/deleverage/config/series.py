"""Series of prices in a file: a CSV file or a zarr group with `time` and a column per price."""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deleverage.config.quantities import conflict, refusal

TIME = "time"


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names."""
    whole = hashlib.sha256()
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            name = part.relative_to(path).as_posix() if path.is_dir() else ""
            whole.update(name.encode() + b"\0" + part.read_bytes() + b"\0")
    return whole.hexdigest()


def column_names(path: Path) -> list[str]:
    """Names of the columns, `time` among them if it is there.

    Raises:
        PydanticCustomError: The file cannot be read.
    """
    if path.is_dir():
        return [str(name) for name in _group(path).variables]
    return [name.strip() for name in next(iter(_rows(path)), [])]


def read_series(path: Path, columns: list[str], start: datetime) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of some columns, as they stand in the file.

    Args:
        path: CSV file or zarr group.
        columns: Names, each in the file.
        start: What times that are dates count from.

    Returns:
        Minutes from the start, `[row]`, and values, `[column, row]`; what is no number is NaN.

    Raises:
        PydanticCustomError: The file cannot be read, or a time is neither a number nor a date.
    """
    if path.is_dir():
        group = _group(path)
        values = np.stack([_column(group[name], group[TIME]) for name in columns])
        return _minutes(list(group[TIME].values), start), values
    rows = _rows(path)
    names = [name.strip() for name in rows[0]]

    def cells(name: str) -> list[str]:
        place = names.index(name)
        return [row[place].strip() if place < len(row) else "" for row in rows[1:]]

    values = np.array([[_number(cell) for cell in cells(name)] for name in columns])
    return _minutes(cells(TIME), start), values.reshape(len(columns), len(rows) - 1)


def _rows(path: Path) -> list[list[str]]:
    """Rows of a CSV file that are not blank; the mark that Excel puts before UTF-8 is no name's."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise conflict(
        f"{path.name}, which cannot be read ({reason})",
        "a CSV file in UTF-8 or a zarr group",
        "save it as CSV in UTF-8, not compressed",
    )


def _group(path: Path) -> Any:
    import xarray as xr

    try:
        return xr.open_zarr(path, consolidated=False, chunks=None)
    except Exception as error:  # whatever zarr makes of a folder that is none of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise refusal(
            f"{path} ({reason})", "a CSV file or a zarr group", "name a folder written by zarr"
        ) from None


def _column(column: Any, time: Any) -> np.ndarray:
    """Values of a variable of a zarr group, one for each time."""
    if time.ndim != 1 or column.dims != time.dims or column.dtype.kind not in "iuf":
        raise conflict(
            f"'{column.name}', {column.dtype} of the shape {list(column.shape)}, "
            f"beside times of the shape {list(time.shape)}",
            "one number for each time, along the same dimension",
            "write the prices and `time` along one dimension",
        )
    return np.asarray(column.values, np.float64)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _minutes(times: list[Any], start: datetime) -> np.ndarray:
    return np.array([_minute(time, start) for time in times], np.float64)


def _minute(time: Any, start: datetime) -> float:
    """Minutes after the start: a number as it is, a date in UTC unless it says otherwise."""
    if isinstance(time, np.timedelta64):
        return float(time / np.timedelta64(1, "s")) / 60
    if isinstance(time, np.datetime64):
        began = np.datetime64(start.astimezone(UTC).replace(tzinfo=None))
        return float((time - began) / np.timedelta64(1, "s")) / 60
    try:
        return float(time)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise refusal(
            time, "times in minutes after the start, or ISO dates in UTC", "mend the time"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - start).total_seconds() / 60
