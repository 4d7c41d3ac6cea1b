"""Values with units."""

import pytest
from pydantic import TypeAdapter, ValidationError

from deleverage.config import quantities as q


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (q.Duration, "30s", 0.5),
        (q.Duration, "2h", 120.0),
        (q.Duration, "1.5 min", 1.5),
        (q.Duration, 0, 0.0),
        (q.HalfLife, "none", q.NEVER),
        (q.Smoothing, "none", 0.0),
        (q.Share, "15%", 0.15),
        (q.Share, "25bps", 0.0025),
        (q.Share, 0.15, 0.15),
        (q.SignedRatio, "-5%", -0.05),
        (q.Money, "350M", 350e6),
        (q.Money, "1.23bn", 1.23e9),
        (q.Money, 1e6, 1e6),
        (q.Money, "50k", 5e4),
        (q.Depth, "infinite", q.INFINITE_USD),
        (q.OpenInterest, "match", q.MATCH),
    ],
)
def test_text_is_read_and_what_is_written_is_read_alike(kind, text, value):
    adapter = TypeAdapter(kind)
    read = adapter.validate_python(text)
    assert read == value
    assert adapter.validate_python(adapter.dump_python(read, mode="json")) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (q.Duration, "30"),
        (q.Duration, 30),
        (q.Duration, "-1s"),
        (q.Share, "15M"),
        (q.Share, 1.01),
        (q.Share, True),
        (q.Share, None),
        (q.Money, "5%"),
        (q.Money, "5m"),
        (q.Money, float("nan")),
        (q.Money, "1e999"),
        (q.Depth, 0),
        (q.PositiveDuration, "0s"),
        (q.HalfLife, "never"),
    ],
)
def test_the_wrong_unit_or_range_is_refused(kind, text):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)
