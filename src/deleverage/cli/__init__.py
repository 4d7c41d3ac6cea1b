"""The command line: parses, calls, prints; no maths. One file for each family of commands.

Everything heavy is imported inside the command that needs it, so that `--help` answers at once.
"""

from deleverage.cli.application import app, main

__all__ = ["app", "main"]
