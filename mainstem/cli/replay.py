"""Ask what-if: make a round again with another strategy, or without a client, and say how far from it the real one is.

Without either it is made again as it was. It is exact for one round. Without --round, every round is made again from
its real base: that tells each round's own share, not what would have become of the run, since the clients trained
each later update from the version that was really committed. Nothing is written to the log.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from mainstem.aggregation.strategies import STRATEGIES
from mainstem.cli import source, witnessing
from mainstem.cli.output import Output, UsageError
from mainstem.lineage import Replay, read_history, replay
from mainstem.lineage.replaying import parse_params
from mainstem.platform.home import Home
from mainstem.protocol.messages import StrategyChoice
from mainstem.protocol.witness import objection_to
from mainstem.runtime.words import few

HELP = "make a round again with another strategy, or without a client"
NAMED = 8
"""Clients that a line names of those whom a round leaves out."""
WHOLE = "each round was made again from its real base: exact for a round, not what would have become of the run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    source.arguments(parser)
    witnessing.argument(parser)
    parser.add_argument("--round", type=int, metavar="N", help="only this round (default: all of them, one by one)")
    parser.add_argument("--without", action="append", default=[], metavar="CLIENT", help="leave this client out")
    parser.add_argument("--strategy", metavar="NAME", help=f"reduce with it: {', '.join(STRATEGIES)}")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of --strategy")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Make them again."""
    if options.param and not options.strategy:
        raise UsageError("--param belongs to --strategy: name the strategy as well")
    strategy = None
    if options.strategy:
        strategy = StrategyChoice(name=options.strategy.lower(), params=parse_params(options.param))
    found: list[Replay] = []
    with source.opened(options, home) as (log, federation):
        statement = witnessing.statement_for(options, home, output, log, federation)
        objection = ""
        if statement is not None:
            objection = objection_to(federation, read_history(log, federation).hashes, statement.witness)
        if objection:
            output.error(objection)
        for each in replay(log, federation, round=options.round, strategy=strategy, without=options.without):
            found.append(each)
            output.say(_line(each))
    exact = options.round is not None
    if options.json:
        told = [_told(each) for each in found]
        note = None if exact else WHOLE
        output.result(
            {"federation": federation, "exact": exact, "note": note, "rounds": told, "unwitnessed": objection}
        )
        return 1 if objection else 0
    for each in found:
        rows = [(d.name, f"{d.largest:.6g}", f"{d.l2:.6g}") for d in each.differences]
        output.table(f"Round {each.round}", ("tensor", "largest difference", "L2 of the difference"), rows)
    if not exact:
        output.say(WHOLE)
    return 1 if objection else 0


def _line(each: Replay) -> str:
    what = f"round {each.round}, version {each.version}: {each.updates} updates by {each.strategy.name}"
    if each.without:
        what += f" without {', '.join(each.without)}"
    if each.left_out:
        what += f", which leaves out {few(sorted(each.left_out), NAMED)}"
    if each.same:
        return f"{what}: the committed version, sha256 {each.sha256}"
    return f"{what}: sha256 {each.sha256}, at most {each.largest:.6g} from {each.committed}"


def _told(each: Replay) -> dict[str, Any]:
    return {
        "round": each.round, "version": each.version, "strategy": each.strategy.name, "params": each.strategy.params,
        "updates": each.updates, "without": list(each.without), "left_out": list(each.left_out),
        "committed": each.committed, "sha256": each.sha256,
        "same": each.same, "largest": each.largest, "l2": each.l2, "tensors": [asdict(d) for d in each.differences],
    }  # fmt: skip
