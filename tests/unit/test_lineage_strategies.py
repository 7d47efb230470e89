"""Runs of every strategy: proved and replayed from the log alone, with the state that a server keeps between rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregation import strategies
from mainstem.cli.replay import _line
from mainstem.errors import AggregationError, ConfigError, MainstemError
from mainstem.lineage import RunFile, export, read_history, recall, replay, verify
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Round, Rules, StrategyChoice, encode
from mainstem.protocol.topics import control_topic
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, aggregate_by_many, command
from tests.support.strategies import CHOSEN
from tests.unit.test_lineage import Altered, detected, everything, named

CLIENTS = 7
"""As many as Bulyan needs against one."""
HOSTILE = 6
KEEPING = [
    name for name, choice in CHOSEN.items() if strategies.make(choice.name, choice.params).serves.name != "replace"
]
"""Those whose server remembers something."""

UNTOLD: dict[str, tuple[type[MainstemError], str]] = {
    "scaffold": (ConfigError, "needs groups that this run's updates do not carry: scaffold_dc"),
    "qfedavg": (AggregationError, "does not say the learning rate, or the loss"),
}
"""Strategies that need more of updates than others make clients send."""


def clients_of(log: MemoryLog, federation: str, incarnation: str = "1") -> list[LightClient]:
    """Clients whose training depends on the model alone: the last one sends whatever it likes."""

    def trained(number: int) -> Any:
        def train(tensors: Sequence[Tensor], _: int) -> list[Tensor]:
            by = 1000 if number == HOSTILE else number
            return [(t * 0.5 + by).astype(t.dtype) if t.dtype.kind == "f" else t for t in tensors]

        return train

    return [LightClient(log, federation, f"c{n}", trained(n), 10 + n, incarnation=incarnation) for n in range(CLIENTS)]


def run_of(strategy: StrategyChoice, rounds: int = 3) -> tuple[MemoryLog, str]:
    """A finished run, and its federation."""
    log = MemoryLog(Ticking())
    rules = Rules(rounds=rounds, min_clients=CLIENTS, max_clients=CLIENTS)
    federation = open_federation(log, START, rules, strategy, federation="lineage2")
    aggregate(log, federation, clients_of(log, federation))
    return log, federation


RUNS = {name: run_of(strategy) for name, strategy in CHOSEN.items()}


@pytest.mark.parametrize("name", CHOSEN)
def test_proved_replayed_and_exported(name: str, tmp_path: Path) -> None:
    """Each version, from the topics and from a file of the run, and each round again to the last byte."""
    log, federation = RUNS[name]
    assert [(p.version, p.state) for p in verify(log, federation)] == [(v, "proved") for v in range(4)]
    assert [again.same for again in replay(log, federation)] == [True] * 3
    assert export(log, federation, tmp_path / "run").incomplete == ()
    with RunFile(tmp_path / "run") as file:
        assert [p.state for p in verify(file, federation)] == ["proved"] * 4
        assert all(again.same for again in replay(file, federation))
    assert [d.version for d in recall(log, federation, client=f"c{HOSTILE}", round=1)] == [1, 2, 3]


@pytest.mark.parametrize("name", CHOSEN)
def test_replayed_by_every_other(name: str) -> None:
    """What-if: a state that the run did not keep begins at zeros in each round; what its updates do not say or carry
    cannot be made up."""
    for other, strategy in CHOSEN.items():
        if other in UNTOLD and other != name:
            error, why = UNTOLD[other]
            with pytest.raises(error, match=why):
                list(replay(*RUNS[name], strategy=strategy))
            continue
        found = list(replay(*RUNS[name], strategy=strategy))
        assert len(found) == 3 and (found[-1].same or other != name)


def test_robust_strategies_do_not_follow_the_hostile_client() -> None:
    """Six honest clients stay below 12; their mean with the hostile one does not."""
    largest = {}
    for name, run in RUNS.items():
        log, federation = run
        largest[name] = max(float(np.abs(t).max()) for t in head_tensors(log, federation) if t.dtype.kind == "f")
    robust = ("median", "trimmed_mean", "krum", "multi_krum", "bulyan", "geometric_median", "krum before adam")
    assert max(largest[name] for name in robust) < 12 < 100 < largest["fedavg"]
    assert largest["norm_bounding"] < 31, "no further than 10 a round"


@pytest.mark.parametrize("name", CHOSEN)
def test_who_gives_scores_says_what_they_are(name: str) -> None:
    """In a clause, and only who gives some."""
    scores = [item.score is not None for record in rounds_of(*RUNS[name]) for item in record.accepted]
    meaning = strategies.make(CHOSEN[name].name, CHOSEN[name].params).scored
    assert set(scores) == {bool(meaning)}


def test_what_if_says_whom_it_would_leave_out() -> None:
    """A run by the mean, each round again by krum: one of all counts, and that is not the hostile one."""
    for again in replay(*RUNS["fedavg"], strategy=CHOSEN["krum"]):
        assert len(again.left_out) == CLIENTS - 1 and f"c{HOSTILE}" in again.left_out and again.without == ()
        assert f"by krum, which leaves out {', '.join(sorted(again.left_out))}:" in _line(again)
    assert all(again.left_out == () for again in replay(*RUNS["fedavg"]))


def test_recall_tells_apart_what_was_left_out() -> None:
    """Krum never takes the hostile client: its updates decided at most whom it takes."""
    assert all(found.left_out and found.direct for found in recall(*RUNS["krum"], client=f"c{HOSTILE}"))
    assert not any(found.left_out for found in recall(*RUNS["fedavg"], client=f"c{HOSTILE}"))


def test_krum_says_whom_it_left_out() -> None:
    """A score for each, one chosen, the hostile client's score the highest."""
    for record in rounds_of(*RUNS["krum"]):
        assert [a.left_out for a in record.accepted].count("") == 1
        scores = {a.client: a.score for a in record.accepted}
        assert max(scores, key=lambda client: scores[client] or 0.0) == f"c{HOSTILE}"
        assert [a.coefficient for a in record.accepted] == [0.0 if a.left_out else 1.0 for a in record.accepted]


@pytest.mark.parametrize("name", ["fedadam"])
def test_any_missing_record_is_found(name: str) -> None:
    """Each record that a version names, its state's chunks among them."""
    log, federation = RUNS[name]
    everything_named = named(log, federation)
    state = {b"version-1", b"adam_m", b"adam_v"}
    assert sum(any(part in record.headers.get("update", b"") for part in state) for record in everything_named) > 6
    for record in everything_named:
        assert detected(Altered(log, (record.topic, record.offset), None, record.partition), federation), record


LIES: dict[str, list[Any]] = {
    "fedadam": [
        lambda r, head: {"state": {**r.state, "adam_m": r.state["adam_v"]}},
        lambda r, head: {"state": dict(head.groups)},
        lambda r, head: {"state": {}},
        lambda r, head: {"state": {"adam_m": r.state["adam_m"]}},
    ],
    "krum": [
        lambda r, head: {"accepted": (msgspec.structs.replace(r.accepted[0], score=1.0), *r.accepted[1:])},
        lambda r, head: {
            "accepted": tuple(
                msgspec.structs.replace(a, left_out="" if a.left_out else "not chosen") for a in r.accepted
            )
        },
        lambda r, head: {"accepted": tuple(msgspec.structs.replace(a, coefficient=1.0) for a in r.accepted)},
        lambda r, head: {"accepted": r.accepted[:4]},
    ],
    "norm_bounding": [
        lambda r, head: {"accepted": tuple(msgspec.structs.replace(a, scale=1.0) for a in r.accepted)},
        lambda r, head: {"accepted": tuple(msgspec.structs.replace(a, scale=0.5) for a in r.accepted)},
    ],
}


@pytest.mark.parametrize("name", LIES)
def test_a_round_that_lies_about_state_or_choice_is_found(name: str) -> None:
    """Another group, none, the round before's; another score, another choice, too few for it."""
    log, federation = RUNS[name]
    history = read_history(log, federation)
    head, record = [(h, r) for h, r in history.steps() if isinstance(r, Round)][-1]
    (offset,) = [link.offset for link in history.links if link.record == record]
    (original,) = log.read(control_topic(federation), 0, offset, offset + 1)
    for number, lie in enumerate(LIES[name]):
        value = encode(msgspec.structs.replace(record, **lie(record, head)))
        changed = Record(original.topic, 0, offset, original.timestamp_ms, None, value)
        assert detected(Altered(log, (original.topic, offset), changed), federation), number


@pytest.mark.parametrize("name", CHOSEN)
def test_a_rollback_takes_the_state_back_too(name: str) -> None:
    """The rounds made anew from version 1 have the bytes that they had: with the moments that stood beside it."""
    log, federation = run_of(CHOSEN[name])
    first = {r.version: r for r in rounds_of(log, federation)}
    command(log, federation, "rollback", version=1)
    aggregate(log, federation, clients_of(log, federation, incarnation="2"))
    again = {r.version: r for r in rounds_of(log, federation)}
    for old, new in ((2, 4), (3, 5)):
        assert again[new].weights.sha256 == first[old].weights.sha256
        assert {n: w.sha256 for n, w in again[new].state.items()} == {n: w.sha256 for n, w in first[old].state.items()}
    assert [p.state for p in verify(log, federation)] == ["proved"] * 6
    head = read_history(log, federation).head
    assert head.states[1] == head.states[2] == first[1].state, "the first version stands there twice"


@pytest.mark.parametrize("name", [*KEEPING, "krum"])
def test_a_new_aggregator_each_turn_changes_no_byte(name: str) -> None:
    """Killed and started again after every few turns, it takes the moments up from the log."""
    log = MemoryLog(Ticking())
    rules = Rules(rounds=3, min_clients=CLIENTS, max_clients=CLIENTS)
    federation = open_federation(log, START, rules, CHOSEN[name], federation="lineage2")
    aggregate_by_many(log, federation, clients_of(log, federation))
    sha256s = [r.weights.sha256 for r in rounds_of(log, federation)]
    assert sha256s == [r.weights.sha256 for r in rounds_of(*RUNS[name])]


def test_states_are_records_of_the_data_topic() -> None:
    """Both moments of each round, as large as the trained floats, and nothing where a strategy keeps none."""
    log, federation = RUNS["fedadam"]
    for record in rounds_of(log, federation):
        assert sorted(record.state) == ["adam_m", "adam_v"]
        assert record.state["adam_m"].nbytes == 12 * 8 + 2 * 4
    assert all(not r.state for r in rounds_of(*RUNS["median"]))
    assert len(list(everything(log, federation))) > len(list(everything(*RUNS["median"])))
