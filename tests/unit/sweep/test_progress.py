import pytest

from deleverage.sweep import progress


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_as_words(seconds, words):
    assert progress.duration(seconds) == words


def test_without_a_terminal_a_line_comes_every_30_seconds(monkeypatch, capsys):
    clock = iter([0.0, *[10.0] * 4, *[31.0] * 5, *[40.0] * 9])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = progress.Progress("oct10", 1000, 100)
    bar.advance(100)
    assert capsys.readouterr().err == ""
    for _ in range(4):
        bar.tick()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("oct10: 20% (200 of 1,000 path-policies)")
    assert "path-policies/s" in lines[0]
    assert lines[0].endswith("left")


def test_nothing_is_said_when_switched_off(capsys):
    with progress.Progress("oct10", 10, 0, show=False) as bar:
        bar.advance(10)
    assert capsys.readouterr().err == ""
