"""Django's commands: `python -m backend.manage <command>`."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from mainstem.runtime.environ import home


def main() -> None:
    """Run the command that the arguments name, with the state directory made first."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
    home(os.environ).mkdir(mode=0o700, parents=True, exist_ok=True)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
