import pytest

from deleverage.errors import RunError
from deleverage.results.markers import (
    find_markers,
    is_done,
    markers_by_unit,
    require_alike,
    write_marker,
)
from deleverage.results.plan import Unit

UNIT = Unit(0, 1234, range(0, 3), range(9872, 9880))


def test_a_name_tells_unit_size_seconds_and_bytes(tmp_path):
    marker = write_marker(tmp_path, UNIT, {"a/c/0": (10, 1), "b/c/0": (5, 2)}, 1.5, {"seed": 3})
    assert marker.path.relative_to(tmp_path).as_posix() == (
        "done/p0000-x001/p0000-x001234_3x8_1.500s_15b.json"
    )
    content = marker.read()
    assert content["paths"] == [9872, 9880]
    assert content["objects"] == {"a/c/0": [10, 1], "b/c/0": [5, 2]}
    assert is_done(tmp_path, UNIT)


def test_a_marker_from_before_the_run_grew_does_not_count(tmp_path):
    write_marker(tmp_path, Unit(0, 1234, range(0, 3), range(9872, 9875)), {}, 1.0, {})
    assert not is_done(tmp_path, UNIT)


def test_a_second_marker_with_the_same_bytes_is_accepted(tmp_path):
    for seconds in (1.0, 1.0, 2.0):
        write_marker(tmp_path, UNIT, {"a/c/0": (10, 1)}, seconds, {})
    assert len(find_markers(tmp_path, UNIT)) == 2


def test_a_second_marker_with_other_bytes_is_an_error(tmp_path):
    write_marker(tmp_path, UNIT, {"a/c/0": (10, 1)}, 1.0, {})
    with pytest.raises(RunError, match=r"p0000-x001234 was stored twice with different bytes"):
        write_marker(tmp_path, UNIT, {"a/c/0": (10, 2)}, 1.0 + 1e-3, {})


def test_differing_markers_of_one_name_are_told_apart(tmp_path):
    write_marker(tmp_path, UNIT, {"a/c/0": (10, 1)}, 1.0, {})
    with pytest.raises(RunError, match="stored twice"):
        write_marker(tmp_path, UNIT, {"a/c/0": (10, 2)}, 1.0, {})


def test_each_unit_is_told_all_its_markers(tmp_path):
    other = Unit(0, 5, range(0, 3), range(40, 48))
    for seconds in (1.0, 2.0):
        write_marker(tmp_path, UNIT, {"a/c/0": (10, 1)}, seconds, {})
    write_marker(tmp_path, other, {"a/c/1": (10, 1)}, 1.0, {})
    found = markers_by_unit(tmp_path)
    assert {name: len(markers) for name, markers in found.items()} == {UNIT.id: 2, other.id: 1}
    assert found[UNIT.id] == find_markers(tmp_path, UNIT)
    require_alike(UNIT, found[UNIT.id])
    text = found[UNIT.id][0].path.read_text()
    found[UNIT.id][0].path.write_text(text.replace("10", "11"))
    with pytest.raises(RunError, match="stored twice with different bytes"):
        require_alike(UNIT, found[UNIT.id])
