"""One run of the test bed: a rule, a split, an attack, so many attackers, a seed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from benchmarks.robust import sites
from benchmarks.robust.attacks import ATTACKS, Scene
from mainstem.aggregation.blocks import reader
from mainstem.aggregation.local import GradientHook, LocalStart
from mainstem.aggregation.reduction import Counted, reduce
from mainstem.aggregation.strategies import STRATEGIES, Claim, Strategy, make
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import steps_of, way_of
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.messages import Rules, StrategyChoice, Training
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy

CLIENTS, ROUNDS = 10, 30
EXPECTED = 3
"""Hostile clients that every rule is told to expect, or as many as it can be told with so many clients."""
COUNTS = ("byzantine", "trim")
"""Parameters that say how many."""
LENGTHS = ("clip_norm", "radius")
"""Parameters that say how long an honest change is, at most."""
LENGTH = 0.5
"""As the rounds' pages show it: honest changes are 0.9 long in the first round and 0.2 in the last."""
NONE = "none"
TRAINING = Training(
    batch_size=sites.BATCH, epochs=sites.EPOCHS, optimizer="sgd", learning_rate=sites.RATE,
)  # fmt: skip
"""What the sites do, as a run's record would say it."""


class Trial(NamedTuple):
    """What is tried."""

    rule: str
    split: str
    attack: str
    attackers: int
    seed: int

    @property
    def side(self) -> str:
        """All but the seed."""
        return f"{self.rule}, {self.split}, {self.attack}, {self.attackers}"


def rules() -> dict[str, StrategyChoice]:
    """Every strategy of the registry that goes with so many clients, and whose clients send nothing beside the model.

    It is told to expect as many attackers as it may be. A name for a combination that has one already is left out.
    """
    found: dict[str, StrategyChoice] = {}
    combinations: set[tuple[type, ...]] = set()
    for name in STRATEGIES:
        choice = _expecting(name)
        if choice is None:
            continue
        strategy = make(name, choice.params)
        kinds = tuple(type(each) for each in strategy.choices)
        if not strategy.asks.remembers and kinds not in combinations:
            combinations.add(kinds)
            found[name] = choice
    return found


def _expecting(name: str) -> StrategyChoice | None:
    known = {own.field.name for own in STRATEGIES[name].parameters()}
    lengths = {parameter: LENGTH for parameter in LENGTHS if parameter in known}
    counts = [{parameter: n for parameter in COUNTS if parameter in known} for n in range(EXPECTED, 0, -1)]
    for params in [*({**lengths, **count} for count in counts), {}]:
        with suppress(ConfigError):
            policy.check(choice := StrategyChoice(name=name, params=params), Rules(min_clients=CLIENTS), TRAINING)
            return choice
    return None


def run(trial: Trial, rounds: int = ROUNDS) -> dict[str, float]:
    """`accuracy` at the end; `honest_out`: honest clients that a round left out, on average; `honest_lost`: honest
    clients that were left out in more than half of the rounds; `hostile_in`: attackers that a round counted."""
    choice = rules()[trial.rule]
    strategy = make(choice.name, choice.params)
    hook = strategy.asks.hook(LocalStart(sites.RATE))
    model = sites.first_model(trial.seed)
    specs = sites.specs()
    specs = exchange_of(specs.model, strategy.groups(specs))
    parts = sites.split(trial.split, CLIENTS, trial.seed)
    state: Mapping[str, list[Tensor]] = {}
    honest = CLIENTS - trial.attackers
    out = np.zeros(CLIENTS)
    done = 0
    for round_ in range(1, rounds + 1):
        updates = _updates(trial, model, parts, round_, hook)
        if not all(np.isfinite(tensor).all() for update in updates for tensor in update):
            break  # the model is so far gone that training overflows: rounds would refuse such updates
        given = [
            Counted(_claim(f"c{n}", strategy, model, part), reader(update))
            for n, (part, update) in enumerate(zip(parts, updates, strict=True))
        ]
        made = reduce(strategy, specs, model, given, state, round_)
        model, state = made.tensors, made.state
        out += [bool(weighed.left_out) for weighed in made.weighing]
        done += 1
    return {
        "accuracy": round(sites.accuracy(model), 4),
        "honest_out": round(float(out[:honest].sum()) / done, 3),
        "honest_lost": int((2 * out[:honest] > done).sum()),
        "hostile_in": round(trial.attackers - float(out[honest:].sum()) / done, 3),
    }


def _claim(client: str, strategy: Strategy, model: list[Tensor], part: sites.Indices) -> Claim:
    """What an update says of itself. Attackers say the truth there."""
    way = way_of(TRAINING, steps_of(len(part), sites.BATCH, sites.EPOCHS))
    loss = sites.loss(model, part) if strategy.weighs.by_loss else None
    return Claim(client, len(part), way=way, loss=loss, rate=sites.RATE)


def _updates(
    trial: Trial, model: list[Tensor], parts: list[sites.Indices], round_: int, hook: GradientHook | None
) -> list[list[Tensor]]:
    """What each client sends, the attackers last."""
    attack = ATTACKS.get(trial.attack)
    honest = CLIENTS - trial.attackers
    with np.errstate(over="ignore", invalid="ignore"):
        trained = [
            sites.train(model, part, [trial.seed, round_, n], n >= honest and attack is not None and attack.flips, hook)
            for n, part in enumerate(parts)
        ]
        if attack is None or not trial.attackers:
            return trained
        base = _flat(model)
        changes = np.stack([_flat(update) - base for update in trained])
        random = np.random.default_rng([trial.seed, round_, 99])
        sent = base + attack.send(Scene(changes[:honest], changes[honest:], random))
    return [*trained[:honest], *(_shaped(each, model) for each in sent)]


def _flat(tensors: list[Tensor]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.concatenate([tensor.reshape(-1) for tensor in tensors]).astype(np.float64)


def _shaped(flat: np.ndarray[tuple[int, ...], np.dtype[np.float64]], like: list[Tensor]) -> list[Tensor]:
    ends = np.cumsum([tensor.size for tensor in like])[:-1]
    return [
        part.reshape(tensor.shape).astype(tensor.dtype) for part, tensor in zip(np.split(flat, ends), like, strict=True)
    ]
