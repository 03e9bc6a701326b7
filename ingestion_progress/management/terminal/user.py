"""Who runs a command."""

import getpass

COMMAND_LINE = "command line"


def command_user() -> str:
    """The user of the operating system, for what a job stores about who asked for something."""
    try:
        return f"{getpass.getuser()} ({COMMAND_LINE})"
    except (KeyError, OSError):  # a container may run under an id without a name
        return COMMAND_LINE
