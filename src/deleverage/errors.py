"""The errors a user can meet, each with the exit code the command line gives it."""


class DeleverageError(Exception):
    """Base of every error raised on purpose; its text is one sentence for the user."""

    exit_code = 1


class ConfigError(DeleverageError):
    """Bad usage or a bad config: names file, line, key, what came, what is allowed, what to do."""

    exit_code = 2


class RunError(DeleverageError):
    """A run directory or a unit that cannot be used as asked."""

    exit_code = 1


class IncompleteRunError(RunError):
    """Units are missing; the run can be resumed."""

    exit_code = 3
