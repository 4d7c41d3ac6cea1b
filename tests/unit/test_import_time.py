"""Importing the package and asking for help start nothing heavy."""

import resource
import subprocess
import sys

import pytest

import deleverage

HEAVY = {"jax", "equinox", "xarray", "zarr", "dask", "distributed", "pydantic", "pandas", "numpy"}


def loaded(statement: str) -> set[str]:
    """Heavy libraries in `sys.modules` after the statement ran in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    assert loaded("import deleverage; deleverage.__version__; dir(deleverage)") == set()


def test_help_loads_nothing_heavy():
    ask = "from deleverage import cli\ntry: cli.app(['--help'])\nexcept SystemExit: pass"
    assert loaded(ask) == set()


def test_the_check_would_see_a_heavy_library():
    assert "numpy" in loaded("import numpy")


@pytest.mark.parametrize("name", deleverage.__all__)
def test_every_public_name_resolves(name):
    assert getattr(deleverage, name) is not None
    assert name in dir(deleverage)


def test_an_unknown_name_is_an_attribute_error_that_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'.*'simulate'"):
        _ = deleverage.simulat


def test_help_answers_within_a_third_of_a_second():
    """In processor time: the tests beside this one keep the machine's cores busy."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(5):
        start = spent()
        subprocess.run(
            [sys.executable, "-m", "deleverage", "--help"], check=True, capture_output=True
        )
        seconds.append(spent() - start)
    assert min(seconds) < 0.3


def test_build_is_the_function_whatever_was_imported_before():
    code = "from deleverage.config import Built, build; assert callable(build), build"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
