"""`python -m tests.chaos.campaign --faults 500 --seed 1`: seeded faults against real processes, run after run.

Two aggregators, a broker and three clients are killed (SIGKILL), frozen and continued (SIGSTOP, SIGCONT) at random
instants of many short federations. After each federation: the final sha256 is the undisturbed run's, every version is
proved from the log, and every update in the log is accounted for once. The faults are written down, one JSON object a
line; the same seed chooses the same faults (their instants follow the machine's speed).
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mainstem.control import ControlTopic
from mainstem.lineage import verify
from mainstem.messages import Round, Update, decode_client
from mainstem.topics import aggregator_topic
from mainstem.weights import is_chunk
from tests.chaos.stage import Stage

CLIENTS, ROUNDS = 3, 4
SECONDS = 240.0
"""A federation that is not finished by then hangs."""


@dataclass
class Campaign:
    """One stage and the faults that it has seen."""

    stage: Stage
    random: random.Random
    journal: IO[str]
    faults: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aggregators = [self.stage.aggregator() for _ in range(2)]
        self.expected = self._run(disturbed=False)

    def federation(self) -> None:
        """One disturbed federation; AssertionError where anything differs."""
        final = self._run(disturbed=True)
        assert final == self.expected, f"final sha256 {final} differs from the undisturbed {self.expected}"

    # ------------------------------------------------------------ one federation
    def _run(self, disturbed: bool) -> str:
        stage = self.stage
        id_ = stage.federation(ROUNDS, CLIENTS)
        clients = [stage.client(id_, n, 0.4) for n in range(CLIENTS)]
        deadline = time.monotonic() + SECONDS
        while (head := stage.head(id_)) is None or head.state != "finished":
            assert time.monotonic() < deadline, f"{id_} hangs; {stage.logs()}"
            if disturbed and (head is None or not head.final):
                time.sleep(self.random.uniform(0.0, 1.2))
                self._fault(id_, clients)
            else:
                time.sleep(0.1)
        assert head.state == "finished"
        for client in clients:
            client.wait(60)
        self._account(id_)
        return head.weights.sha256

    def _fault(self, federation: str, clients: list[subprocess.Popen[bytes]]) -> None:
        kind = self.random.choices(
            ["kill aggregator", "freeze aggregator", "kill client", "freeze client", "kill broker", "freeze broker"],
            [4, 3, 4, 3, 1, 1],
        )[0]
        number = self.random.randrange(CLIENTS if kind.endswith("client") else 2)
        pause = self.random.uniform(0.1, 3.0)
        entry = {"fault": self.faults + 1, "kind": kind, "number": number, "federation": federation}
        print(json.dumps({**entry, "time": round(time.time(), 3)}), file=self.journal, flush=True)
        match kind:
            case "kill aggregator":
                self.aggregators[number].kill()
                self.aggregators[number].wait()
                self.aggregators[number] = self.stage.aggregator()
            case "freeze aggregator":
                self._freeze(self.aggregators[number], pause)
            case "kill client" if clients[number].poll() is None:
                clients[number].kill()
                clients[number].wait()
                clients[number] = self.stage.client(federation, number, 0.4)
            case "freeze client" if clients[number].poll() is None:
                self._freeze(clients[number], pause)
            case "kill broker":
                self.stage.broker.kill()
                self.stage.broker.start()
            case "freeze broker":
                assert self.stage.broker.process is not None
                self._freeze(self.stage.broker.process, pause)
            case _:
                return
        self.faults += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    @staticmethod
    def _freeze(process: subprocess.Popen[bytes], seconds: float) -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def _account(self, federation: str) -> None:
        """Every version is proved; every update in the log counts once or is refused once; none is lost."""
        states = [proof.state for proof in verify(self.stage.log, federation)]
        assert states == ["proved"] * (ROUNDS + 1), states
        control = ControlTopic(self.stage.log, federation)
        rounds = [e.record for e in control.sync() if e.link is not None and isinstance(e.record, Round)]
        control.close()
        accepted = [a.offset for r in rounds for a in r.accepted]
        refused = [x.offset for r in rounds for x in r.refused]
        assert len(accepted) == len(set(accepted)) == ROUNDS * CLIENTS, "an update counts twice or is missing"
        assert all(len({a.client for a in r.accepted}) == CLIENTS for r in rounds)
        topic = aggregator_topic(federation)
        end = rounds[-1].snapshot.position
        written = {
            record.offset
            for record in self.stage.log.read(topic, 0, 0, end)
            if not is_chunk(record.headers) and isinstance(decode_client(record.value), Update)
        }
        assert written == set(accepted) | set(refused), "an update was dropped silently"


def main() -> int:
    """Run federations until so many faults have happened; the exit code says whether anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", type=Path, default=None, help="where faults are written (default: stderr)")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mainstem-campaign-") as directory:
        stage = Stage(Path(directory))
        journal = open(options.journal, "w") if options.journal else sys.stderr  # noqa: SIM115 - closed with the process
        try:
            campaign = Campaign(stage, random.Random(options.seed), journal)
            federations = 0
            while campaign.faults < options.faults:
                campaign.federation()
                federations += 1
        finally:
            stage.close()
    result = {
        "faults": campaign.faults,
        "federations": federations,
        "by_kind": campaign.by_kind,
        "differing_sha256": 0,
        "updates_lost_or_doubled": 0,
        "final_sha256": campaign.expected,
        "seconds": round(time.monotonic() - begin, 1),
        "seed": options.seed,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
