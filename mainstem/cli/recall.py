"""List the versions that descend from a client's update, or from the update with a given sha256.

A version descends from an update that it counts, and from all that its base and its late updates descend from. One
whose strategy left the update out is listed, too: the update may have decided which others count. The column `current`
tells whether the run's present model descends from the version; `mainstem rollback` goes back before it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mainstem.cli import source
from mainstem.cli.output import Output, UsageError
from mainstem.lineage import Descendant, recall
from mainstem.platform.home import Home

HELP = "list the versions that descend from an update"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    source.arguments(parser)
    parser.add_argument("--client", metavar="ID", help="the client whose updates are meant")
    parser.add_argument("--round", type=int, metavar="N", help="only that client's update of this round")
    parser.add_argument("--update", metavar="SHA256", help="the update with this sha256")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """List them."""
    if (options.client is None) == (options.update is None):
        raise UsageError("name either --client or --update")
    with source.opened(options, home) as (log, federation):
        found = recall(log, federation, client=options.client, round=options.round, update=options.update)
    if options.json:
        output.result({"federation": federation, "versions": [asdict(each) for each in found]})
        return 0
    rows = [(each.version, each.round, _how(each), "yes" if each.current else "no", each.sha256) for each in found]
    output.table("Versions", ("version", "round", "how", "current", "sha256"), rows)
    return 0


def _how(each: Descendant) -> str:
    if not each.direct:
        return "by descent"
    return "left it out" if each.left_out else "counts it"
