import pytest

from deleverage.errors import ConfigError
from deleverage.results.schema import DIMENSIONS, VARIABLES, select_variables


def test_every_variable_has_unit_meaning_and_known_dims():
    for variable in VARIABLES.values():
        assert variable.unit
        assert variable.long_name[0].isupper()
        assert set(variable.dims) <= set(DIMENSIONS)
        assert variable.dims[: 1 + variable.by_policy * variable.by_path] in (
            ("policy",),
            ("path",),
            ("policy", "path"),
        )


def test_default_selection_leaves_out_the_optional():
    chosen = select_variables(None)
    assert "bad_debt" in chosen
    assert "wick_price" not in chosen
    assert select_variables("default") == chosen
    assert select_variables("all") == tuple(VARIABLES)


def test_a_selection_keeps_the_coordinates():
    assert select_variables(["bad_debt"]) == (
        "bad_debt", "severity", "shock_time", "log_weight", "status",
    )  # fmt: skip


def test_an_unknown_variable_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match=r"'bad_dept' is not a stored variable.*bad_debt"):
        select_variables(["bad_dept"])
