"""Put a client out of an open run: no round waits for it any more, and its process is refused.

What it has sent counts. A new process under the same client id may join again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from mainstem.cli.orders import carry_out
from mainstem.cli.output import Output
from mainstem.platform.home import Home
from mainstem.rest import Api

HELP = "put a client out of a run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("federation", help="the federation's id")
    parser.add_argument("client", help="the client to put out")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Ask for it, and wait until the run says that the client is gone."""

    def done(shown: Mapping[str, Any]) -> bool:
        return not any(m["client"] == options.client and m["state"] != "removed" for m in shown["members"])

    with Api.connect(home) as api:
        output.say("asking for it, and waiting for the aggregator")
        shown = carry_out(api, options.federation, "remove", {"client": options.client}, done, options.timeout)
    if options.json:
        output.result({"federation": shown["federation"], "removed": options.client})
    else:
        output.out.print(f"{options.client} no longer takes part in federation {shown['federation']}", soft_wrap=True)
    return 0
