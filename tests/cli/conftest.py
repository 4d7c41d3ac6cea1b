"""A command line called in this process."""

import pytest

from deleverage import cli


@pytest.fixture
def call(capsys):
    """Run a command line: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return end.value.code or 0, said.out, said.err

    return run
