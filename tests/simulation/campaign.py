"""`python -m tests.simulation.campaign --runs 20000 --seed 1 --processes 2`: thousands of simulated runs.

Each takes the next of all cases: a weather (mode, members, faults; `weathers.py`) under each strategy and encoding that
suit it, and the rollbacks. A case's runs are rough, very rough or nearly calm in turn. What a run violates is written
down, one JSON object a line, with the command that repeats that run alone; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tests.simulation import checks, rollbacks
from tests.simulation.weathers import FORESTS, OLDER_COPIES_OF_SITES, ROLLED_BACK, SITES, WAYS, WEATHERS, Weather
from tests.simulation.world import World
from tests.support.strategies import CHOSEN
from tests.support.trees import BAGGING

ROUGHNESS = (1.0, 2.0, 0.3)
"""What a run multiplies its weather's crashes, lost answers and freezes by, in turn."""

EVERY_SECONDS = 10.0
"""How often it says how far it is."""


@dataclass
class Case:
    """A weather under a strategy and an encoding, by their names."""

    weather: str
    strategy: str
    way: str
    shape: Weather
    rolled_back: bool = False

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.weather} / {self.strategy} / {self.way}"

    def at(self, seed: int) -> Weather:
        """What a seed's run meets."""
        factor, shape = ROUGHNESS[seed % len(ROUGHNESS)], self.shape
        return replace(
            shape,
            crash=shape.crash * factor,
            lost_before=shape.lost_before * factor,
            lost_after=shape.lost_after * factor,
            freeze=shape.freeze * factor,
        )

    @cached_property
    def expected(self) -> str:
        """The undisturbed run's final sha256, where runs have to end with it."""
        return "" if self.rolled_back else checks.undisturbed(self.shape)

    def run(self, seed: int) -> World:
        """A seed's run; raises where it breaks a rule."""
        if self.rolled_back:
            return rollbacks.run(seed, self.at(seed))
        return checks.run(seed, self.at(seed), self.expected)


def cases() -> list[Case]:
    """Every weather with every strategy and every encoding that go with it, in an order that mixes them."""
    found = []
    sites = {f"{name} sites": shape for name, shape in SITES.items()}
    older = {f"an older copy, {name} sites": shape for name, shape in OLDER_COPIES_OF_SITES.items()}
    weathers = {**WEATHERS, **sites, **older, "a rollback": ROLLED_BACK}
    for (strategy, choice), (weather, shape), way in itertools.product(CHOSEN.items(), weathers.items(), WAYS):
        if (fitting := shape.travelling(way).under(choice)) is not None:
            found.append(Case(weather, strategy, way, fitting, shape is ROLLED_BACK))
    found += [Case(weather, BAGGING.name, "raw", shape, False) for weather, shape in FORESTS.items()]
    random.Random(0).shuffle(found)
    return found


@dataclass
class Result:
    """What came of one run. `problem` is empty where it kept every rule."""

    case: int
    seed: int
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    problem: str = ""


ALL = cases()


def perform(job: tuple[int, int]) -> Result:
    """One run of a case with a seed."""
    number, seed = job
    case, result = ALL[number], Result(*job)
    try:
        world = case.run(seed)
    except Exception as error:  # whatever it is, it is a finding
        result.problem = f"{type(error).__name__}: {error}"[:2000]
    else:
        result.steps = world.steps
        result.faults.update(fault.split()[1] for fault in world.faults)  # "120 crash client-1"
        result.faults["clock set"] += len(world.clocks_set)
    return result


def jobs(chosen: Sequence[int], runs: int, seed: int) -> Iterator[tuple[int, int]]:
    """So many runs, a case after the other; a case's seeds count up."""
    for number in range(runs):
        yield chosen[number % len(chosen)], seed + number // len(chosen)


@dataclass
class Campaign:
    """What was found so far."""

    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def take(self, result: Result) -> None:
        """Count one run."""
        case = ALL[result.case]
        for key in (("weather", case.weather), ("strategy", case.strategy), ("encoding", case.way)):
            self.runs[key] += 1
            self.violations[key] += bool(result.problem)
        self.faults += result.faults
        self.steps += result.steps

    @property
    def violated(self) -> int:
        """Runs that broke a rule."""
        return sum(count for (kind, _), count in self.violations.items() if kind == "weather")

    def table(self) -> str:
        """Runs and violations by weather and by strategy."""
        lines = [f"{'':44}{'runs':>8}{'violations':>12}"]
        for kind in ("weather", "strategy", "encoding"):
            lines += [
                f"{kind:10}{name:34}{count:8}{self.violations[kind, name]:12}"
                for (of, name), count in self.runs.items()
                if of == kind
            ]
        told = ", ".join(f"{count:,} x {fault}" for fault, count in self.faults.most_common())
        return "\n".join([*lines, f"{self.steps:,} port calls; {told}"])


def main() -> int:
    """Run them; the exit code says whether any broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of each case's first run (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name has this in it; --list shows the names")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--journal", type=Path, help="where violations are written (default: stderr)")
    options = parser.parse_args()
    chosen = [number for number, case in enumerate(ALL) if options.only in case.name]
    if options.list or not chosen:
        print("\n".join(case.name for case in ALL))
        return 0 if options.list else 2
    journal = open(options.journal, "w") if options.journal else sys.stderr  # noqa: SIM115 - closed with the process
    campaign, began, said = Campaign(), time.monotonic(), time.monotonic()
    with multiprocessing.Pool(options.processes) as pool:
        results = pool.imap_unordered(perform, jobs(chosen, options.runs, options.seed), chunksize=4)
        for done, result in enumerate(results, 1):
            campaign.take(result)
            if result.problem:
                print(json.dumps(entry(result)), file=journal, flush=True)
            if time.monotonic() - said > EVERY_SECONDS:
                said = time.monotonic()
                pace = (said - began) / done * options.processes
                print(
                    f"{done:,} of {options.runs:,} runs, {campaign.violated} violations, {pace:.3f} s a run", flush=True
                )
    print(campaign.table())
    print(f"{options.runs:,} runs in {time.monotonic() - began:.0f} s, {campaign.violated} violations")
    return 1 if campaign.violated else 0


def entry(result: Result) -> dict[str, object]:
    """A violation, with what repeats it."""
    name = ALL[result.case].name
    again = f"python -m tests.simulation.campaign --only '{name}' --seed {result.seed} --runs 1"
    return {"case": name, "seed": result.seed, "problem": result.problem, "again": again}


if __name__ == "__main__":
    sys.exit(main())
