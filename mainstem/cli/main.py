"""The command's arguments, its errors and exit codes.

0: done; 1: it failed, with one sentence; 2: wrong arguments; 3: `doctor` found something missing; 130: interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Protocol

from mainstem.cli import (
    clients,
    demo,
    doctor,
    export,
    inject,
    job_manifest,
    jobs,
    rebuild,
    recall,
    remove,
    replay,
    rollback,
    status,
    topics,
    up,
    verify,
)
from mainstem.cli.output import Output, UsageError
from mainstem.errors import MainstemError
from mainstem.platform.home import Home


class Command(Protocol):
    """What a command's module has; its docstring is the long help."""

    HELP: str

    def arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add its own options."""
        ...

    def run(self, options: argparse.Namespace, home: Home, output: Output, /) -> int:
        """Do it; the exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "up": up,
    "demo": demo,
    "inject": inject,
    "status": status,
    "jobs": jobs,
    "job-manifest": job_manifest,
    "topics": topics,
    "verify": verify,
    "replay": replay,
    "recall": recall,
    "rollback": rollback,
    "remove": remove,
    "export": export,
    "rebuild": rebuild,
    "clients": clients,
    "doctor": doctor,
}


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(
        prog="mainstem",
        description="Federated learning on Kafka.",
        epilog="`mainstem COMMAND --help` explains a command. The platform's state is in $MAINSTEM_HOME "
        "(default: .mainstem in the working directory).",
    )
    top.add_argument("--version", action="version", version=f"mainstem {_version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        sub = commands.add_parser(
            name, help=module.HELP, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.add_argument("--home", type=Path, help="state directory (default: $MAINSTEM_HOME or .mainstem)")
        module.arguments(sub)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if rest and not getattr(COMMANDS[options.command], "PASSES_ON", False):
        top.error(f"{options.command} does not know {' '.join(rest)}; see `mainstem {options.command} --help`")
    options.rest = rest[1:] if rest[:1] == ["--"] else rest
    output = Output(as_json=options.json)
    try:
        return COMMANDS[options.command].run(options, Home.locate(options.home), output)
    except UsageError as error:
        output.error(f"{error}; see `mainstem {options.command} --help`")
        return 2
    except MainstemError as error:
        output.error(str(error))
        return 1
    except KeyboardInterrupt:
        output.error("interrupted")
        return 130
    except BrokenPipeError:  # `mainstem topics | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _version() -> str:
    try:
        return metadata.version("mainstem")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
