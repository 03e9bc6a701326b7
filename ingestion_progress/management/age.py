"""Ages on the command line."""

import re
from datetime import timedelta

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def age(text: str) -> timedelta:
    """`90m`, `12h`, `1d` or `2w`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None:
        raise ValueError(text)
    return timedelta(**{UNITS[match[2]]: int(match[1])})
