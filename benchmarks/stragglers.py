"""`python -m benchmarks.stragglers`: a fifth of the clients are ten times slower: sync against buffered rounds.

All run until the same number of updates are accepted: sync in rounds of all clients, buffered in commits of half as
many updates, which is long enough for the slow to send several. Sync with a target of four fifths (over-selection)
stands between them: it leaves out the slow.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from benchmarks.federation import PATIENCE, Case, aggregator, outcome
from benchmarks.machine import Child, description
from benchmarks.stats import emit, in_turns, show
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Round, Rules
from mainstem.swarm import open_federation

SLOWER = 10
STALE = 40
"""Commits that pass while a slow client trains are some 16; the default of 10 would refuse its updates."""


def main() -> int:
    """Run the three ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=0.1, help="a fast client's training (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of sync (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    count, updates = options.clients, options.clients * options.rounds
    most = count * 4 // 5
    ways: dict[str, dict[str, Any]] = {
        "sync": {"rounds": options.rounds},
        "sync, target 4/5": {"rounds": -(-updates // most), "target": most},
        "buffered, half": {
            "mode": "buffered",
            "buffer": count // 2,
            "rounds": -(-updates // (count // 2)),
            "max_staleness": STALE,
        },
    }
    with EmbeddedKafka() as kafka:
        turns = {name: partial(run, kafka, options, rules) for name, rules in ways.items()}
        runs = in_turns(turns, options.repeat, "total")
    show(runs, {"seconds in all": ("total", 1), "updates accepted": ("accepted", 1), "of the slow": ("slow", 1)})
    emit({"benchmark": "stragglers", **description(), **vars(options), "updates": updates, "runs": runs})
    return 0


def run(kafka: EmbeddedKafka, options: argparse.Namespace, rules: dict[str, Any]) -> dict[str, Any]:
    """One federation; seconds from its first round's opening to its last commit."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    case = Case(options.clients, options.kilobytes)
    slow = options.clients // 5
    with aggregator(kafka.bootstrap_servers):
        limits = Rules(min_clients=options.clients, max_clients=options.clients, final_wait_ms=10_000, **rules)
        id_ = open_federation(log, case.model(), limits, name="stragglers")
        common = [sys.executable, "-m", "mainstem.cli", "clients", "--json", "--federation", id_, "--train", "shift"]
        where = {"KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
        groups = {"slow-": (slow, SLOWER * options.seconds), "fast-": (options.clients - slow, options.seconds)}
        children = [
            Child([*common, "--prefix", prefix, "--count", str(count), "--seconds", str(seconds)], where)
            for prefix, (count, seconds) in groups.items()
        ]
        answers = [child.told(PATIENCE) for child in children]
    control = ControlTopic(log, id_)
    rounds = [entry.record for entry in control.sync() if entry.link and isinstance(entry.record, Round)]
    control.close()
    accepted = [item.client for record in rounds for item in record.accepted]
    figures = outcome(log, id_, answers)
    log.delete_topics(spec.name for spec in topics.federation_topics(id_))
    log.close()
    slow_updates = sum(name.startswith("slow-") for name in accepted)
    return {"total": figures["total"], "accepted": len(accepted), "slow": slow_updates}


if __name__ == "__main__":
    sys.exit(main())
