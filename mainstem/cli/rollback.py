"""Make an earlier version the run's model again, and go on from there; also after the run's end.

The rounds after that version are made again, up to the number that the run was opened with. Nothing is lost: what was
rolled back stays in the log, and its versions' numbers are not used again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from mainstem.cli.orders import carry_out
from mainstem.cli.output import Output
from mainstem.platform.home import Home
from mainstem.rest import Api

HELP = "go on from an earlier version of a run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("federation", help="the federation's id")
    parser.add_argument("version", type=int, help="the version to go on from")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Ask for it, and wait for the aggregator's answer."""
    with Api.connect(home) as api:
        left = api.get(f"deployments/{options.federation}/")["version"]

        def done(shown: Mapping[str, Any]) -> bool:
            return left not in shown["head"].get("lineage", [left])  # the run's model no longer descends from it

        output.say("asking for it, and waiting for the aggregator")
        shown = carry_out(api, options.federation, "rollback", {"version": options.version}, done, options.timeout)
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
