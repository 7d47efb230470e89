"""`python -m tests.support.aggregator_process`: the aggregator over a log that kills it at a chosen call."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import mainstem.aggregator.__main__ as aggregator
from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import MessageLog
from tests.support.lethal import WHENS, LethalLog


def main() -> int:
    """The aggregator's own command, with a `LethalLog` around the log of one federation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--federation", required=True, help="whose calls count")
    parser.add_argument("--call", type=int, required=True, help="0: never, but tell all calls")
    parser.add_argument("--when", choices=WHENS, default="before")
    parser.add_argument("--trace", type=Path, required=True)
    options, others = parser.parse_known_args()
    trace = open(options.trace, "w")  # noqa: SIM115 - until the process is killed
    lethal: list[LethalLog] = []  # the calls of a federation that was taken up again count on

    def federation(log: MessageLog, name: str, **settings: Any) -> Federation:
        if name != options.federation:
            return Federation(log, name, **settings)
        lethal[:] = lethal or [LethalLog(log, options.call, options.when, trace)]
        return Federation(lethal[0], name, **settings)

    with mock.patch.object(aggregator, "Federation", federation):
        return aggregator.main(others)


if __name__ == "__main__":
    sys.exit(main())
