"""Rules for a Kafka with an authorizer: who may read, write and make which topics.

mainstem acl plan --platform mainstem --client north     print them, as arguments of kafka-acls
mainstem acl apply --platform mainstem --client north    write those that are missing (--prune: take others away)
mainstem acl check --platform mainstem --client north    say what differs; exit code 1 where something does

A client may read what the server writes and write what clients write, and nothing else. A feeder (ANONYMOUS is whoever
comes to a listener without login) may fill and announce data streams, and touch nothing of a federation.
"""

from __future__ import annotations

import argparse

from mainstem.cli.output import Output, UsageError
from mainstem.cli.where import kafka_config
from mainstem.kafka.client.rules import Authorizer
from mainstem.platform.home import Home
from mainstem.protocol.rights import Rule, plan

HELP = "print, write or check the rules of Kafka's authorizer"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("action", choices=("plan", "apply", "check"))
    for kind, what in (
        ("platform", "a user of backend, aggregators, launcher or loggers"),
        ("client", "a user of a site's training Jobs and control logger"),
        ("feeder", "a user that feeds data streams; ANONYMOUS: whoever needs no login"),
    ):
        parser.add_argument(f"--{kind}", action="append", default=[], metavar="USER", help=f"{what} (may be repeated)")
    parser.add_argument("--prune", action="store_true", help="apply: also take away what else these users may")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print, write or compare."""
    users = [*options.platform, *options.client, *options.feeder]
    if not users:
        raise UsageError("name at least one user: --platform, --client or --feeder")
    due = plan(options.platform, options.client, options.feeder)
    if options.action == "plan":
        _show(output, due, "rules", "")
        return 0
    authorizer = Authorizer(kafka_config(home))
    there = authorizer.rules(users)
    missing, more = due - there, there - due
    if options.action == "check":
        _show(output, missing, "missing", "missing: ")
        _show(output, more, "more", "more than is due: ")
        output.show("" if missing or more else f"all {len(due)} rules are there, and no others of these users")
        return 1 if missing or more else 0
    authorizer.add(missing)
    if options.prune:
        authorizer.remove(more)
    kept = f"; {len(more)} others of these users stay (--prune takes them away)" if more and not options.prune else ""
    output.show(f"{len(missing)} rules written, {len(due) - len(missing)} were there{kept}")
    return 0


def _show(output: Output, rules: frozenset[Rule], name: str, before: str) -> None:
    for rule in sorted(rules):
        output.show(f"{before}{rule}" if before else f"kafka-acls --add {rule.command()}")
