"""No closed form is stated in a config and checked nowhere."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_limit_has_a_test():
    stated = {path.stem for path in (HERE.parents[1] / "configs" / "limits").glob("*.yaml")}
    tests = [path.read_text() for path in HERE.glob("test_*.py")]
    checked = {name for text in tests for name in re.findall(r'\blimit\(\s*"(\w+)"', text)}
    assert stated == checked
