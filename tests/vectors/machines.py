"""What every machine must make of the same updates: `python -m tests.vectors.machines` prints a digest for each
strategy in each mode that it goes with, for each encoding, for each way in which sites' models differ and for each
selection of clients, and says where one is not the published one.

A digest is over a whole small run by a real aggregator and real clients: of each version and each group of its state
the sha256, and what the round decided about each update. Whatever the runs begin with comes from a hash and is scaled
by powers of two, so that no generator and no `libm` has a part in it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from mainstem.aggregation.strategies import make
from mainstem.aggregator.federation import Federation
from mainstem.client.personal import Site
from mainstem.errors import ConfigError
from mainstem.protocol.encodings import ENCODINGS
from mainstem.protocol.messages import (
    Adaptation,
    EncodingChoice,
    Member,
    Opened,
    Report,
    Round,
    Rules,
    Selection,
    StrategyChoice,
    sha256,
)
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy, selection
from mainstem.rounds.modes import MODES
from mainstem.swarm.opening import ONE_STEP
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.own_model import site_of
from tests.support.runs import Ticking, drive
from tests.support.strategies import CHOSEN
from tests.support.trees import finished_run

HERE = Path(__file__).parent
ROUNDS = 3
CLIENTS = 5
BEYOND = 1 << 10
"""How many times its weights the last client sends."""

SHAPES = {"float32": (33, 2017), "float64": (1009,), "float16": (257,), "int64": ()}
"""More than one block, and no shape that a vector register divides."""

NARROW = (np.zeros((17, 1009), np.float32), np.zeros(501), np.zeros(129, np.float16), np.zeros((), np.int64))
"""The leading parts of those tensors."""
PARTIAL = (NARROW[0], np.zeros(1009))
"""The second one as the federation has it, and the first otherwise."""
STRICT = Adaptation()


class Run(NamedTuple):
    """What a run is opened with, and its clients' models in turn."""

    choice: StrategyChoice
    rules: Rules
    adaptation: Adaptation = STRICT
    sites: Sequence[Callable[[Opened], Site]] = (Site,)


SITES: Mapping[str, tuple[Adaptation, Sequence[Callable[[Opened], Site]]]] = {
    "personal": (Adaptation(adapt="personal", personal=("t1",)), (Site,)),
    "partial": (Adaptation(adapt="partial"), (Site, site_of(PARTIAL))),
    "slice": (Adaptation(adapt="slice"), (Site, site_of(NARROW))),
}


def noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """float64 of that shape from -1 to 1, each exact in 16 bits, a sixteenth of them smaller by 2**-18: below the
    normal numbers of float16."""
    size = int(np.prod(shape))
    words = np.frombuffer(hashlib.shake_256(name.encode()).digest(2 * size), "<i2").astype(np.float64)
    return np.ldexp(words, np.where(words.astype(np.int64) % 16, -15, -33)).reshape(shape)


def start() -> list[Tensor]:
    """Version 0: a float of every width, and an integer."""
    return [np.multiply(noise(dtype, shape), 64).astype(dtype) for dtype, shape in SHAPES.items()]


def training(number: int, count: int) -> Callable[[Sequence[Tensor], int], list[Tensor]]:
    """What client `number` of `count` does in the place of training; the last one sends far too much."""

    def train(tensors: Sequence[Tensor], base: int) -> list[Tensor]:
        by = BEYOND if number == count - 1 else 1
        return [
            (t * 0.75 + by * noise(f"{number}/{base}/{i}", t.shape)).astype(t.dtype) if t.dtype.kind == "f" else t
            for i, t in enumerate(tensors)
        ]

    return train


def rounds(run: Run, threads: int = 2) -> list[Round]:
    """The committed rounds of a run; all clients train from a head at once, so that a mode that closes its round sooner
    counts the others late."""
    clock, count, sites = Ticking(), run.rules.max_clients, run.sites
    log = MemoryLog(clock)
    federation = open_federation(log, start(), run.rules, run.choice, federation="machines", adaptation=run.adaptation)
    clients = [
        LightClient(log, federation, f"c{n}", training(n, count), examples=10 + 7 * n, site=sites[n % len(sites)])
        for n in range(count)
    ]
    aggregator = Federation(log, federation, clock=clock, writer="w", threads=threads)
    try:
        drive(aggregator, clients)
    finally:
        aggregator.close()
    return rounds_of(log, federation)


def run_digest(made: Sequence[Round]) -> str:
    """Over all that a machine's arithmetic decided, and nothing of a process, a clock, or how tensors travel."""
    decided = [
        {
            "weights": record.weights.sha256,
            "state": {name: weights.sha256 for name, weights in sorted(record.state.items())},
            "accepted": [
                replace(each, offset=0, record="", nbytes=0, received_ms=0, report=Report()) for each in record.accepted
            ],
        }
        for record in made
    ]
    return sha256(msgspec.json.encode(decided))


def chosen() -> Iterator[tuple[str, Run]]:
    """By name: every strategy in every mode, every encoding, both ways where versions can travel as it, and every way
    in which sites' models differ, as far as they go together."""
    for name, run in _thinkable():
        try:
            policy.check(run.choice, run.rules, ONE_STEP, run.adaptation.adapt)
        except ConfigError:
            continue
        yield name, run


def _thinkable() -> Iterator[tuple[str, Run]]:
    for name, choice in sorted(CHOSEN.items()):
        count = max(CLIENTS, make(choice.name, choice.params).least)
        for mode in sorted(MODES):
            rules = Rules(mode=mode, rounds=ROUNDS, min_clients=count, max_clients=count, buffer=count - 2)
            yield f"{name} {mode}", Run(choice, rules)
    plain = Rules(rounds=ROUNDS, min_clients=CLIENTS, max_clients=CLIENTS, buffer=CLIENTS - 2, keyframe_every=2)
    for name, encoding in sorted(ENCODINGS.items()):
        way = EncodingChoice(name=name)
        rules = replace(plain, encoding_up=way)
        rules = replace(rules, encoding_down=way) if encoding.down else rules
        yield f"fedavg {name}", Run(StrategyChoice(), rules)
        for adapt, site in SITES.items():
            yield f"fedavg {name} {adapt}", Run(StrategyChoice(), rules, *site)
    for adapt, site in SITES.items():
        for mode in sorted(MODES):
            yield f"fedavg {mode} {adapt}", Run(StrategyChoice(), replace(plain, mode=mode), *site)
        yield f"fedadam sync {adapt}", Run(CHOSEN["fedadam"], plain, *site)


def forest_digest() -> str:
    """Of a forest, whose leaves are multiplied by their clients' shares."""
    log, federation = finished_run()
    return run_digest(rounds_of(log, federation))


def selection_digest(name: str) -> str:
    """Whom this way of choosing asks, of forty members and for a few seeds."""
    chooser = selection.make(Selection(name=name, params={"count": 7}))
    assert chooser is not None
    members = [
        Member(
            client=f"c{n}",
            incarnation="1",
            joined=n,
            examples=1 + 37 * n % 101,
            last_ms=0,
            seconds=(n * 29 % 17) / 7,
            labels={str(label): 1 for label in range(n % 10)},
        )
        for n in range(40)
    ]
    return sha256(json.dumps([chooser.choose(members, 7, f"seed-{seed}") for seed in range(50)]).encode())


def digests() -> dict[str, str]:
    """All of them by name."""
    made = {name: run_digest(rounds(run)) for name, run in chosen()}
    made["bagging sync"] = forest_digest()
    made |= {
        f"selection {name}": selection_digest(name) for name, way in sorted(selection.SELECTIONS.items()) if way.order
    }
    return made


def vector_units() -> list[str]:
    """What NumPy has loops for beyond its baseline and this processor has: NPY_DISABLE_CPU_FEATURES takes them away."""
    core = import_module("numpy._core._multiarray_umath")
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


def machine() -> str:
    """What this machine is, as far as arithmetic goes."""
    return (
        f"{platform.machine()}, {sys.byteorder}-endian, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"vector units: {' '.join(vector_units()) or 'the baseline'}"
    )


def published() -> dict[str, str]:
    """Those of `machines.json`."""
    found: dict[str, str] = json.loads((HERE / "machines.json").read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Print them; 1 where one is not what is published."""
    from tests.vectors.generate import files

    print(machine(), flush=True)
    made, due = digests(), published()
    for name, text in files().items():
        made[name], due[name] = (sha256(t.encode()) for t in (text, (HERE / name).read_text(encoding="utf-8")))
    for name, digest in made.items():
        print(f"{digest}  {name}")
    wrong = sorted(name for name in {*made, *due} if made.get(name) != due.get(name))
    print(f"not as published: {', '.join(wrong)}" if wrong else f"all {len(made)} as published")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
