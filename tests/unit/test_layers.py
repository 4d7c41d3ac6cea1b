"""The import layers of the package, as import-linter reads them from pyproject.toml."""

import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_point_down():
    command = [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
