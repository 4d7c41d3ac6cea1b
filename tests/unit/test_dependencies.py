"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = {"jaxlib": "jax", "pydantic-core": "pydantic"}
"""Distributions that another one pins to its own version."""

UNSEEN = {"dask", "jaxtyping"}
"""Declared for xarray and equinox, which import them."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ]", name)[0]).lower()


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def imported(*folders: str) -> set[str]:
    """Distributions that files below some folders import."""
    modules = set()
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module.partition(".")[0])
    homes = packages_distributions()
    found = {plain(homes[one][0]) for one in modules - sys.stdlib_module_names if one in homes}
    return {PARTS.get(one, one) for one in found} - {"deleverage"}


def test_what_the_package_imports_is_a_dependency_or_an_extra(project):
    extras = project["optional-dependencies"]
    needed = {plain(one) for one in project["dependencies"]}
    assert imported("src") == (needed - UNSEEN) | {plain(one) for one in extras["report"]}


def test_every_extra_is_of_use(project):
    assert set(project["optional-dependencies"]) == {"cuda12", "cuda13", "report", "bench", "dev"}
    assert {plain(one) for one in project["optional-dependencies"]["bench"]} <= imported("scripts")
