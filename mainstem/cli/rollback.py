"""Make an earlier version the run's model again, and go on from there; also after the run's end.

The rounds after that version are made again, up to the number that the run was opened with. Nothing is lost: what was
rolled back stays in the log, and its versions' numbers are not used again.
"""

from __future__ import annotations

import argparse
import time

from mainstem.cli.api import Api
from mainstem.cli.output import Output
from mainstem.errors import MainstemError
from mainstem.platform.home import Home

HELP = "go on from an earlier version of a run"
POLL_SECONDS = 0.2
REJECTED = "The last command was rejected: "


class RollbackError(MainstemError):
    """The run was not rolled back; the message says why."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("federation", help="the federation's id")
    parser.add_argument("version", type=int, help="the version to go on from")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Ask for it, and wait for the aggregator's answer."""
    with Api.connect(home) as api:
        path = f"deployments/{options.federation}/"
        left = api.get(path)["version"]  # which the run's model then no longer descends from
        api.post(f"{path}rollback/", {"version": options.version})
        output.say("asked for it; waiting for the aggregator")
        deadline = time.monotonic() + options.timeout
        while time.monotonic() < deadline:
            shown = api.get(path)
            if shown["detail"].startswith(REJECTED):
                raise RollbackError(shown["detail"].removeprefix(REJECTED))
            if left not in shown["head"].get("lineage", [left]):
                break
            time.sleep(POLL_SECONDS)
        else:
            raise RollbackError(
                f"no aggregator has answered within {options.timeout:g} s; the command stays in the log"
            )
    if options.json:
        told = {name: shown[name] for name in ("federation", "state", "round", "rounds", "version", "sha256")}
        output.result(told)
    else:
        output.out.print(
            f"federation {shown['federation']} goes on from version {options.version}: round {shown['round'] + 1} of "
            f"{shown['rounds']} is next",
            soft_wrap=True,
        )
    return 0
