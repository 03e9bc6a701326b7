#!/usr/bin/env python
"""Django's command line for the project."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")
    from django.core.management import execute_from_command_line

    from progress_project.environment import InvalidVariable

    try:
        execute_from_command_line(sys.argv)
    except InvalidVariable as error:
        sys.exit(f"{error}")
