"""Create or refresh `.venv-<version>` of this checkout and print the path of its interpreter.

Usage: `python scripts/environment.py [extra]...`. Standard library only. The environment counts as
good while it holds a stamp that names this pyproject.toml, this place and the extras asked for; the
stamp is removed before anything is installed and written after everything is, so an interrupted
installation is thrown away and made again. A lock lets one installation run at a time; the system
frees it when its holder dies.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-{}.{}".format(*sys.version_info[:2])
PYTHON = FOLDER / "bin" / "python"
STAMP = FOLDER / "installed.json"


def say(sentence: str) -> None:
    """Tell the user what takes time; standard output is for the path alone."""
    print(sentence, file=sys.stderr, flush=True)


def call(command: list[str | Path], **settings: object) -> None:
    """Run a command with its output on standard error; raises CalledProcessError.

    It inherits the lock: should this process be killed, the lock is held until the command ends.
    """
    quiet = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    subprocess.run(command, check=True, close_fds=False, **quiet, **settings)


def fingerprint() -> str:
    """Hash of the project file: what an installation depends on, besides its place."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def installed() -> dict | None:
    """What the stamp says, or None where the environment is absent, unfinished, moved or broken."""
    try:
        stamp = json.loads(STAMP.read_text())
        subprocess.run([PYTHON, "-c", ""], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return stamp if stamp.get("root") == str(ROOT) else None


def create() -> None:
    """Make an empty environment, with virtualenv where Python came without ensurepip."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    if importlib.util.find_spec("ensurepip"):
        try:
            return call([sys.executable, "-m", "venv", FOLDER])
        except subprocess.CalledProcessError:
            say("venv failed, trying virtualenv")
            shutil.rmtree(FOLDER, ignore_errors=True)
    virtualenv = [sys.executable, "-m", "virtualenv", "--quiet", FOLDER]
    if importlib.util.find_spec("virtualenv"):
        return call(virtualenv)
    if not importlib.util.find_spec("pip"):
        sys.exit(
            f"error: {sys.executable} has neither a working venv nor pip, so no environment can be "
            "made; install pip (or your system's python3-venv package) and run this again."
        )
    # A target folder is allowed also where the system's packages are externally managed (PEP 668).
    with tempfile.TemporaryDirectory() as target:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        call([*pip, "--target", target, "virtualenv"])
        call(virtualenv, env={**os.environ, "PYTHONPATH": target})


def install(extras: list[str]) -> None:
    """Install this checkout, editable, with the extras."""
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    call([*pip, "--editable", target])


def prepare(extras: set[str]) -> None:
    """Bring the environment up to date; extras that it already has are kept."""
    stamp = installed()
    if stamp and stamp["fingerprint"] == fingerprint() and extras <= set(stamp["extras"]):
        return
    say(f"installing deleverage into {FOLDER.name} (a few minutes the first time)")
    if stamp is None:
        create()
    else:
        extras = extras | set(stamp["extras"])
    STAMP.unlink(missing_ok=True)
    install(sorted(extras))
    record = {"fingerprint": fingerprint(), "root": str(ROOT), "extras": sorted(extras)}
    unfinished = STAMP.with_suffix(".partial")
    unfinished.write_text(json.dumps(record))
    unfinished.replace(STAMP)


def main() -> None:
    """Take the lock, prepare, print the interpreter's path."""
    with open(f"{FOLDER}.lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another installation into {FOLDER.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        prepare(set(sys.argv[1:]))
    print(PYTHON)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError:
        sys.exit(
            f"error: the installation into {FOLDER.name} failed, see pip's reason above; "
            "mend it and run this again."
        )
    except OSError as error:
        sys.exit(
            f"error: the environment {FOLDER} cannot be written ({error}); "
            "make room or use a checkout in a folder that you may write to."
        )
    except KeyboardInterrupt:
        say("interrupted; the next call makes the environment again")
        sys.exit(130)
