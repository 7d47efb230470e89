"""`python -m tests.chaos.campaign --faults 500 --seed 1`: seeded faults against real processes, run after run.

A broker, two aggregators, three clients, the backend, its launcher and both loggers meet faults at random instants of
many short federations: kill -9, SIGSTOP and SIGCONT, a network that is cut, held, slow or loses answers, a broker whose
disk is full or read-only, a database that is lost and rebuilt, an aggregator or a client that dies at a chosen call of
its log; with --trainer-runs, real training Jobs are killed and frozen too. Federations are in turn of whole tensors
under FedAvg and of int8 both ways under FedAdam, which has state beside its versions, keyframes and error feedback at
both ends. After each federation: the final sha256 is its undisturbed run's, every version is proved from the log, every
update in the log is accounted for once, every topic can be read to its end, and the database equals the log.

The faults are written down, one JSON object a line. Federation N of a seed always meets the same faults in the same
order (their instants follow the machine's speed): `--federation N` repeats it alone.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from mainstem.protocol.messages import StrategyChoice
from tests.chaos import account, faults, plan
from tests.chaos.machine import Machine
from tests.chaos.platform import PlatformStage
from tests.chaos.trainers import Trainers

ROUNDS = 12
TRAINING_SECONDS = 0.4
RUNS: Mapping[str, tuple[StrategyChoice, str]] = {
    "fedavg, raw": (StrategyChoice(), "raw"),
    "fedadam, int8": (StrategyChoice(name="fedadam"), "int8"),
}
"""What federations run in turn: the strategy, and the encoding both ways."""
SECONDS = 600.0
"""A federation that is not finished so long after its last fault hangs."""


@dataclass
class Campaign:
    """One stage and the faults that it has seen."""

    stage: PlatformStage
    seed: int
    journal: IO[str]
    kinds: Sequence[str] = tuple(plan.KINDS)
    each: int = 24
    """Faults that a federation meets at most: on a busy machine, what is killed before it is up would never end."""
    faults: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    ended_by_themselves: Counter[str] = field(default_factory=Counter)

    expected: dict[str, str] = field(default_factory=dict)
    """The undisturbed runs' final sha256."""

    def federation(self, number: int) -> None:
        """Disturbed federation number `number`; AssertionError where anything differs."""
        name = list(RUNS)[number % len(RUNS)]
        if name not in self.expected:
            self.expected[name] = self._run(name, None)
        final, expected = self._run(name, number), self.expected[name]
        assert final == expected, f"final sha256 {final} of {name} differs from the undisturbed {expected}"

    def _run(self, name: str, number: int | None) -> str:
        stage = self.stage
        id_ = stage.federation(ROUNDS, plan.CLIENTS, *RUNS[name])
        clients = [stage.client(id_, n, TRAINING_SECONDS) for n in range(plan.CLIENTS)]
        chosen = islice(plan.faults(self.seed, number, self.kinds), self.each) if number is not None else iter(())
        deadline = time.monotonic() + SECONDS
        while (head := stage.head(id_)) is None or head.state != "finished":
            assert time.monotonic() < deadline, f"{id_} hangs; {stage.logs()}"
            failed = [client for client in clients if stage.parts[client].process.poll()]
            assert not failed, f"{failed} of {id_} failed; {stage.logs()}"
            self._tend()
            fault = None if head is not None and head.final else next(chosen, None)
            if fault is not None:
                time.sleep(fault.wait)
                self._hit(fault, number, id_)
                deadline = time.monotonic() + SECONDS
            else:
                time.sleep(0.1)
        for client in clients:
            assert stage.left(client) == 0, f"{client} of {id_} failed"
        self._tend()
        account.updates_count_once(stage.log, id_, ROUNDS, plan.CLIENTS)
        account.nobody_waits(stage.broker.bootstrap_servers, id_)
        account.projection_is_the_log(stage, id_)
        stage.forget(id_)
        return head.weights.sha256

    def _hit(self, fault: plan.Fault, number: int | None, federation: str) -> None:
        self.stage.announce_stream()
        began = time.time()
        met = faults.hit(self.stage, fault)
        if met is None:
            return
        self.faults += 1
        self.by_kind[fault.kind] += 1
        where = {"seed": self.seed, "run": number, "federation": federation}
        chosen = {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(fault).items()}
        entry = {"fault": self.faults, "time": round(began, 3), "lasted": round(time.time() - began, 3)}
        self._tell({**entry, **where, **chosen, **met})

    def _tend(self) -> None:
        for name in self.stage.tend():
            self.ended_by_themselves[name] += 1
            self._tell({"time": round(time.time(), 3), "ended by itself": name})

    def _tell(self, entry: dict[str, object]) -> None:
        print(json.dumps(entry), file=self.journal, flush=True)


def main() -> int:
    """Run federations until so many faults have happened; the exit code says whether anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", type=Path, default=None, help="where faults are written (default: stderr)")
    parser.add_argument("--kinds", default=",".join(plan.KINDS), help="of faults (default: %(default)s)")
    parser.add_argument("--trainer-runs", type=int, default=0, help="runs of real trainers under faults, at the end")
    parser.add_argument("--federation", type=int, default=None, help="repeat this one alone")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is ended in order
    began = time.monotonic()
    journal = open(options.journal, "w") if options.journal else sys.stderr  # noqa: SIM115 - closed with the process
    try:
        result = _perform(options, journal)
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {error}"[:10_000], "command": " ".join(sys.argv[1:])}
    result["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(result), file=journal, flush=True)
    print(json.dumps(result))
    return 1 if "failed" in result else 0


def _perform(options: argparse.Namespace, journal: IO[str]) -> dict[str, object]:
    """The campaign as a person asked for it; its result, since nothing differed."""
    trainer_faults = federations = 0
    if options.trainer_runs:
        with _directory() as directory, closing(Machine(directory)) as machine:
            trainers = Trainers(machine, options.seed, lambda entry: print(json.dumps(entry), file=journal, flush=True))
            trainer_faults = sum(trainers.run(number) for number in range(options.trainer_runs))
    with _directory() as directory, closing(PlatformStage(directory)) as stage:
        campaign = Campaign(stage, options.seed, journal, options.kinds.split(","))
        if options.federation is not None:
            campaign.federation(options.federation)
        while options.federation is None and campaign.faults + trainer_faults < options.faults:
            campaign.federation(federations)
            federations += 1
    return {
        "faults": campaign.faults + trainer_faults,
        "federations": federations + options.trainer_runs,
        "by_kind": {**campaign.by_kind, "trainer": trainer_faults},
        "ended_by_themselves": dict(campaign.ended_by_themselves),
        "differing_sha256": 0,
        "updates_lost_or_doubled": 0,
        "projections_that_differ": 0,
        "final_sha256": campaign.expected,
        "seed": options.seed,
    }


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mainstem-campaign-") as directory:
        yield Path(directory)


if __name__ == "__main__":
    sys.exit(main())
