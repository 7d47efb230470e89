"""`python -m tests.support.aggregator_process`: the aggregator over a log that kills it or holds it back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import mainstem.aggregator.__main__ as aggregator
from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import MessageLog
from tests.support.lethal import WHENS, HeldLog, LethalLog


def main() -> int:
    """The aggregator's own command, with a `LethalLog`, or a `HeldLog` too, around the log of one federation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--federation", required=True, help="whose calls count")
    parser.add_argument("--call", type=int, default=0, help="0: never, but tell all calls")
    parser.add_argument("--when", choices=WHENS, default="before")
    parser.add_argument("--trace", type=Path, help="where each call of the log is told")
    parser.add_argument("--hold", type=Path, help="hold the next commit while this file, which it makes, is there")
    options, others = parser.parse_known_args()
    trace = open(options.trace, "w") if options.trace else None  # noqa: SIM115 - until the process is killed
    lethal: list[MessageLog] = []  # the calls of a federation that was taken up again count on

    def federation(log: MessageLog, name: str, **settings: Any) -> Federation:
        if name != options.federation:
            return Federation(log, name, **settings)
        if not lethal:
            own = HeldLog(log, options.hold) if options.hold else log
            lethal.append(LethalLog(own, options.call, options.when, trace))
        return Federation(lethal[0], name, **settings)

    with mock.patch.object(aggregator, "Federation", federation):
        return aggregator.main(others)


if __name__ == "__main__":
    sys.exit(main())
