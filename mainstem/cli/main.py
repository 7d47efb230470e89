"""The command's arguments, its errors and exit codes (`mainstem.runtime.exits`)."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Final, Protocol

from mainstem.cli import (
    acl,
    adapt,
    clients,
    demo,
    doctor,
    enrol,
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
    witness,
)
from mainstem.cli.output import Output, UsageError
from mainstem.errors import MainstemError
from mainstem.platform.home import Home
from mainstem.runtime.environ import DEFAULT_HOME
from mainstem.runtime.exits import Exit
from mainstem.runtime.program import Termination, raising
from mainstem.runtime.variables import CLOUD_PROPERTIES, DATA, Groups, Variable, help_text


class Subcommand(Protocol):
    """What a command's module has; its docstring is the long help."""

    HELP: str

    def arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add its own options."""
        ...

    def run(self, options: argparse.Namespace, home: Home, output: Output, /) -> int:
        """Do it; the exit code."""
        ...


COMMANDS: dict[str, Subcommand] = {
    "up": up,
    "demo": demo,
    "enrol": enrol,
    "inject": inject,
    "status": status,
    "jobs": jobs,
    "job-manifest": job_manifest,
    "topics": topics,
    "acl": acl,
    "adapt": adapt,
    "verify": verify,
    "replay": replay,
    "recall": recall,
    "rollback": rollback,
    "remove": remove,
    "export": export,
    "witness": witness,
    "rebuild": rebuild,
    "clients": clients,
    "doctor": doctor,
}


PLATFORM = "the platform's that runs in MAINSTEM_HOME"
VARIABLES: Final[Groups] = {
    "Environment variables": (
        Variable("MAINSTEM_HOME", "the platform's state", otherwise=f"{DEFAULT_HOME} in the working directory"),
        Variable("KML_CLOUD_BOOTSTRAP_SERVERS", "a Kafka of your own: host:port,...", otherwise=PLATFORM),
        CLOUD_PROPERTIES,
        *DATA,
        Variable("MAINSTEM_API", "the backend's address", otherwise=PLATFORM),
        Variable("MAINSTEM_API_TOKEN", "a token for it", otherwise="the login of the platform's admin"),
    )
}


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(
        prog="mainstem",
        description="Federated learning on Kafka.",
        epilog=f"`mainstem COMMAND --help` explains a command.\n\n{help_text(VARIABLES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"mainstem {_version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        sub = commands.add_parser(
            name, help=module.HELP, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.add_argument("--home", type=Path, help=f"state directory (default: $MAINSTEM_HOME or {DEFAULT_HOME})")
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
        with raising():
            return COMMANDS[options.command].run(options, Home.locate(options.home), output)
    except UsageError as error:
        output.error(f"{error}; see `mainstem {options.command} --help`")
        return Exit.UNUSABLE
    except MainstemError as error:
        output.error(str(error))
        return Exit.FAILED
    except Termination as stopped:
        output.error("interrupted")
        return stopped.code
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
