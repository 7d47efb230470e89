"""Ask what-if: make a round again with another strategy, or without a client, and say how far from it the real one is.

Without either it is made again as it was. It is exact for one round. Without --round, every round is made again from
its real base: that tells each round's own share, not what would have become of the run, since the clients trained
each later update from the version that was really committed. Nothing is written to the log.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from mainstem.cli import source
from mainstem.cli.output import Output, UsageError
from mainstem.lineage import Replay, replay
from mainstem.lineage.replaying import parse_params
from mainstem.messages import Strategy
from mainstem.platform.home import Home

HELP = "make a round again with another strategy, or without a client"
WHOLE = "each round was made again from its real base: exact for a round, not what would have become of the run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    source.arguments(parser)
    parser.add_argument("--round", type=int, metavar="N", help="only this round (default: all of them, one by one)")
    parser.add_argument("--without", action="append", default=[], metavar="CLIENT", help="leave this client out")
    parser.add_argument("--strategy", metavar="NAME", help="reduce with this strategy")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of --strategy")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Make them again."""
    if options.param and not options.strategy:
        raise UsageError("--param belongs to --strategy: name the strategy as well")
    strategy = None
    if options.strategy:
        strategy = Strategy(name=options.strategy.lower(), params=parse_params(options.param))
    found: list[Replay] = []
    with source.opened(options, home) as (log, federation):
        for each in replay(log, federation, round=options.round, strategy=strategy, without=options.without):
            found.append(each)
            output.say(_line(each))
    exact = options.round is not None
    if options.json:
        told = [_told(each) for each in found]
        output.result({"federation": federation, "exact": exact, "note": None if exact else WHOLE, "rounds": told})
        return 0
    for each in found:
        rows = [(d.name, f"{d.largest:.6g}", f"{d.l2:.6g}") for d in each.differences]
        output.table(f"Round {each.round}", ("tensor", "largest difference", "L2 of the difference"), rows)
    if not exact:
        output.say(WHOLE)
    return 0


def _line(each: Replay) -> str:
    what = f"round {each.round}, version {each.version}: {each.updates} updates by {each.strategy.name}"
    if each.left_out:
        what += f" without {', '.join(each.left_out)}"
    if each.same:
        return f"{what}: the committed version, sha256 {each.sha256}"
    return f"{what}: sha256 {each.sha256}, at most {each.largest:.6g} from {each.committed}"


def _told(each: Replay) -> dict[str, Any]:
    return {
        "round": each.round, "version": each.version, "strategy": each.strategy.name, "params": each.strategy.params,
        "updates": each.updates, "without": list(each.left_out), "committed": each.committed, "sha256": each.sha256,
        "same": each.same, "largest": each.largest, "l2": each.l2, "tensors": [asdict(d) for d in each.differences],
    }  # fmt: skip
