"""`python -m tests.chaos.brokers --faults 300 --seed 1`: what one broker cannot have, on a cluster of three.

Two aggregators and three clients run short federations on three Kafka brokers (each record on all, and on two to
count), which meet in a seeded order: a leader killed at a random instant, or between a version's weights and its
commit; all three restarted one after the other; one that hangs until the others go on without it; one that comes back
with an empty disk; two of three away; the active controller killed; leaders moved under load. Aggregators and clients
are killed in between. After each federation the final sha256 is its undisturbed run's, every version is proved from the
log, and every update in the log is accounted for once.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from mainstem.errors import LogError
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Round
from mainstem.protocol.topics import aggregator_topic, control_topic, data_control_spec, data_topic, shared_topics
from tests.chaos import account
from tests.chaos.stage import Parts
from tests.support.kafka_cluster import NODES, KafkaCluster

CLIENTS, AGGREGATORS, ROUNDS = 3, 2, 8
TRAINING_SECONDS = 0.3
EACH = 12
"""Faults that a federation meets at most."""
SECONDS = 600.0
"""A federation that is not finished so long after its last fault hangs."""
HELD_SECONDS = 20.0
AWAY_SECONDS = (1.0, 6.0)

KINDS: dict[str, int] = {
    "leader": 5, "commit": 4, "rolling": 1, "hang": 3, "empty": 2, "two": 2, "controller": 3, "election": 3, "part": 5,
}  # fmt: skip
"""Every kind of fault, and how many of each are among as many faults as this sums up to."""


class BrokersStage(Parts):
    """Parts on three brokers."""

    def __init__(self, directory: Path) -> None:
        self.cluster = KafkaCluster(directory).start()
        super().__init__(directory, self.cluster.bootstrap_servers)
        self.log.create_topics([*shared_topics(), data_control_spec()])
        for number in range(AGGREGATORS):
            self.aggregator(number)

    def close(self) -> None:
        """Kill everything, and the brokers last."""
        super().close()
        self.cluster.close()

    def tend(self) -> list[str]:
        """Start again what ended by itself with a fault; its names."""
        ended = [n for n, part in self.parts.items() if part.process.poll() not in (None, 0)]
        for name in ended:
            self.again(name)
        return ended


@dataclass
class Brokers:
    """One stage and what it has met."""

    stage: BrokersStage
    chance: random.Random
    tell: Callable[[dict[str, object]], None]
    rounds: int = ROUNDS
    faults: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    pauses: dict[str, float] = field(default_factory=dict)
    """The longest round that met a fault of a kind, in seconds of log time."""
    expected: str = ""

    def federation(self, kinds: Sequence[str]) -> None:
        """A federation that meets these faults, in order, as long as it runs; AssertionError where anything differs."""
        self.expected = self.expected or self._run(())
        final = self._run(kinds)
        assert final == self.expected, f"final sha256 {final} differs from the undisturbed {self.expected}"

    def _run(self, kinds: Sequence[str]) -> str:
        stage = self.stage
        id_ = stage.federation(self.rounds, CLIENTS)
        clients = [stage.client(id_, n, TRAINING_SECONDS) for n in range(CLIENTS)]
        met: list[tuple[str, float, float]] = []
        deadline = time.monotonic() + SECONDS
        while (head := stage.head(id_)) is None or head.state != "finished":
            assert time.monotonic() < deadline, f"{id_} hangs; {stage.logs()}"
            stage.tend()
            if len(met) < len(kinds) and (head is None or not head.final):
                time.sleep(self.chance.uniform(0.0, 1.0))
                kind = kinds[len(met)]
                met.append((kind, *self._hit(kind, id_)))
                deadline = time.monotonic() + SECONDS
            else:
                time.sleep(0.1)
        stage.cluster.wait_whole()
        for client in clients:
            assert stage.left(client, 120) == 0, f"{client} of {id_} failed"
        account.updates_count_once(stage.log, id_, self.rounds, CLIENTS)
        account.nobody_waits(stage.cluster.bootstrap_servers, id_)
        self._measure(id_, met)
        return head.weights.sha256

    def _measure(self, federation: str, met: list[tuple[str, float, float]]) -> None:
        """Which rounds were open during a fault, and how long each was."""
        times = [stamp / 1000 for stamp in commits(self.stage, federation)]
        for before, after in pairwise(times):
            for kind in {kind for kind, began, ended in met if began <= after and before <= ended} or {"none"}:
                self.pauses[kind] = max(self.pauses.get(kind, 0.0), round(after - before, 2))

    def _hit(self, kind: str, federation: str) -> tuple[float, float]:
        began = time.time()
        told = getattr(self, f"_{kind}")(federation)
        ended = time.time()
        self.faults += 1
        self.by_kind[kind] += 1
        lasted = round(ended - began, 2)
        self.tell({"fault": self.faults, "kind": kind, "federation": federation, "lasted": lasted, **told})
        return began, ended

    # ------------------------------------------------------------ the kinds
    def _leader(self, federation: str) -> dict[str, object]:
        topic = self.chance.choice((control_topic, data_topic, aggregator_topic))(federation)
        return {"topic": topic, **self._killed(self.stage.cluster.leader(topic))}

    def _controller(self, federation: str) -> dict[str, object]:
        return self._killed(self.stage.cluster.controller())

    def _killed(self, node: int, seconds: float | None = None) -> dict[str, object]:
        if node not in NODES:
            return {"node": node}
        self.stage.cluster.nodes[node].kill()
        time.sleep(self.chance.uniform(*AWAY_SECONDS) if seconds is None else seconds)
        self.stage.cluster.again(node)
        self.stage.cluster.wait_whole()
        return {"node": node}

    def _commit(self, federation: str) -> dict[str, object]:
        """The leader of the control topic dies when a version's weights are in the log and its commit is not."""
        stage, held = self.stage, self.stage.directory / "held"
        held.unlink(missing_ok=True)
        for name in aggregators():
            stage.kill(name)
        part = stage.parts["aggregator-0"]
        _, *options = part.command
        lethal = ["tests.support.aggregator_process", *options, "--federation", federation, "--hold", str(held)]
        stage.run("aggregator-0", lethal, part.environment).command = part.command
        deadline = time.monotonic() + HELD_SECONDS
        while not held.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        leader = stage.cluster.leader(control_topic(federation)) if held.exists() else -1
        if leader in NODES:
            stage.cluster.nodes[leader].kill()
        held.unlink(missing_ok=True)
        time.sleep(self.chance.uniform(*AWAY_SECONDS))
        if leader in NODES:
            stage.cluster.again(leader)
        stage.cluster.wait_whole()
        for name in aggregators():
            stage.kill(name)
            stage.again(name)
        return {"node": leader}

    def _rolling(self, federation: str) -> dict[str, object]:
        for node in NODES:
            self.stage.cluster.nodes[node].stop()
            self.stage.cluster.again(node)
            self.stage.cluster.wait_whole()
        return {}

    def _hang(self, federation: str) -> dict[str, object]:
        """Longer than the others wait for it: they go on without it, and it finds itself left behind."""
        node = self.chance.choice(NODES)
        self.stage.cluster.signal(node, signal.SIGSTOP)
        time.sleep(self.chance.uniform(4.0, 8.0))
        self.stage.cluster.signal(node, signal.SIGCONT)
        self.stage.cluster.wait_whole()
        return {"node": node}

    def _empty(self, federation: str) -> dict[str, object]:
        node = self.chance.choice(NODES)
        self.stage.cluster.nodes[node].kill()
        self.stage.cluster.empty(node)
        return self._killed(node, 0.5)

    def _two(self, federation: str) -> dict[str, object]:
        """Nothing can be written until one of them is back, and nothing that was is lost."""
        gone = self.chance.sample(NODES, 2)
        for node in gone:
            self.stage.cluster.nodes[node].kill()
        time.sleep(self.chance.uniform(2.0, 8.0))
        self.stage.cluster.start()
        return {"nodes": gone}

    def _election(self, federation: str) -> dict[str, object]:
        self.stage.cluster.elect_preferred()
        return {}

    def _part(self, federation: str) -> dict[str, object]:
        name = self.chance.choice([n for n in self.stage.parts if self.stage.alive(n)])
        self.stage.kill(name)
        self.stage.again(name)
        return {"part": name}


def aggregators() -> Iterator[str]:
    """Their names."""
    return (f"aggregator-{number}" for number in range(AGGREGATORS))


def commits(stage: Parts, federation: str) -> list[int]:
    """When each round was committed, in milliseconds of log time."""
    with closing(ControlTopic(stage.log, federation)) as control:
        return [e.link.timestamp_ms for e in control.sync() if e.link is not None and isinstance(e.record, Round)]


def tell(entry: dict[str, object]) -> None:
    """One line of JSON."""
    print(json.dumps(entry), flush=True)


def main() -> int:
    """Run federations until so many faults have happened; the exit code says whether anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of a federation (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of faults (default: %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    began, brokers = time.monotonic(), None
    result: dict[str, object] = {"seed": options.seed}
    with tempfile.TemporaryDirectory(prefix="mainstem-brokers-") as directory:
        try:
            with closing(BrokersStage(Path(directory))) as stage:
                brokers = Brokers(stage, random.Random(options.seed), tell, options.rounds)
                while brokers.faults < options.faults:
                    kinds = options.kinds.split(",")
                    brokers.federation(brokers.chance.choices(kinds, [KINDS[kind] for kind in kinds], k=EACH))
            result |= {"differing_sha256": 0, "updates_lost_or_doubled": 0}
        except (AssertionError, LogError) as error:
            result["failed"] = f"{type(error).__name__}: {error}"[:10_000]
    if brokers is not None:
        result |= {"faults": brokers.faults, "by_kind": brokers.by_kind, "longest_round": brokers.pauses}
    result["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(result))
    return 1 if "failed" in result else 0


if __name__ == "__main__":
    sys.exit(main())
