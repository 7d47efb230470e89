"""Runs of a forest over a log in memory: grown by a round's updates in its order, proved, replayed, exported, rolled
back, and never spoiled by tables that are not sound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mainstem.aggregation.blocks import reader
from mainstem.aggregation.growing import FULL, grown
from mainstem.aggregation.strategies import Claim, Weighed, make
from mainstem.aggregator.federation import Federation
from mainstem.errors import AggregationError, ConfigError, RefusedError
from mainstem.lineage import RunFile, export, read_history, recall, replay, verify
from mainstem.lineage.examining import examine
from mainstem.lineage.reading import RunReader
from mainstem.protocol import forests
from mainstem.protocol.exchange import check_update, exchange_of
from mainstem.protocol.messages import EncodingChoice, Reason, Rules, StrategyChoice, TensorSpec, Update
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, rounds_of
from tests.support.runs import Ticking, aggregate, aggregate_by_many, command, drive
from tests.support.sent import said
from tests.support.trees import (
    BAGGING,
    DEPTH,
    FEATURES,
    FOREST,
    ROOM,
    ROWS,
    clients_of,
    drawn,
    finished_run,
    growing,
    opened_run,
    start,
)

RUN = finished_run()
SPECS = exchange_of(forests.forest_specs(ROOM, DEPTH), forest=FOREST)


def model_of(log: MemoryLog, federation: str, version: int) -> list[Tensor]:
    """A version's tensors."""
    history = read_history(log, federation)
    way = history.way(version)
    assert way is not None
    with RunReader(log, history) as run:
        return run.tensors(way.end)


def test_a_version_is_the_one_before_and_its_rounds_trees_in_order() -> None:
    """Each leaf times its client's share of the examples, each split as it came."""
    log, federation = RUN
    models = [model_of(log, federation, version) for version in range(4)]
    for record, (before, after) in zip(rounds_of(log, federation), pairwise(models), strict=True):
        size = int(before[0][0])
        assert after[0][0] == size + 3 * ROWS
        np.testing.assert_array_equal(after[1][:size], before[1][:size])
        np.testing.assert_array_equal(after[2][:size], before[2][:size])
        for at, item in enumerate(record.accepted):
            mine = growing(int(item.client[1:]))(before, 0)
            rows = slice(size + at * ROWS, size + (at + 1) * ROWS)
            np.testing.assert_array_equal(after[1][rows], mine[1])
            share = np.where(mine[1] > 0, 1.0, item.examples / 33)
            np.testing.assert_array_equal(after[2][rows], (mine[2].astype(np.float64) * share).astype(np.float32))
            assert item.coefficient == item.examples and item.nbytes == ROWS * forests.places_of(DEPTH) * 8
        assert not after[1][after[0][0] :].any() and not after[2][after[0][0] :].any()


def test_proved_replayed_exported_examined(tmp_path: Path) -> None:
    """From the topics and from a file of the run."""
    log, federation = RUN
    assert [(p.version, p.state) for p in verify(log, federation)] == [(v, "proved") for v in range(4)]
    assert [again.same for again in replay(log, federation)] == [True] * 3
    assert export(log, federation, tmp_path / "run").incomplete == ()
    with RunFile(tmp_path / "run") as file:
        assert [p.state for p in verify(file, federation)] == ["proved"] * 4
    assert [d.version for d in recall(log, federation, client="c1", round=1)] == [1, 2, 3]
    report = examine(log, federation, 2)
    assert report.proof.state == "proved" and report.norm is None and len(report.measures) == 3


def test_replay_without_a_client_and_with_what_makes_no_trees() -> None:
    """What-if: another order of shares; a mean of trees is refused."""
    log, federation = RUN
    (again,) = replay(log, federation, round=1, without=["c2"])
    assert not again.same and again.updates == 2
    with pytest.raises(ConfigError, match="the model is a forest, and mean makes no trees"):
        list(replay(log, federation, strategy=StrategyChoice()))


def test_a_rollback_grows_again_from_the_earlier_forest() -> None:
    """The rounds made anew have the bytes that they had."""
    log, federation = finished_run()
    first = {r.version: r.weights.sha256 for r in rounds_of(log, federation)}
    command(log, federation, "rollback", version=1)
    aggregate(log, federation, clients_of(log, federation, 3, incarnation="2"))
    again = {r.version: r.weights.sha256 for r in rounds_of(log, federation)}
    assert [again[4], again[5]] == [first[2], first[3]]
    assert [p.state for p in verify(log, federation)] == ["proved"] * 6


def test_a_new_aggregator_each_turn_changes_no_byte() -> None:
    """Killed and started again after every few turns."""
    log, federation = opened_run()
    aggregate_by_many(log, federation, clients_of(log, federation, 3))
    assert [r.weights.sha256 for r in rounds_of(log, federation)] == [r.weights.sha256 for r in rounds_of(*RUN)]


def unsound(feature: Tensor, value: Tensor) -> list[tuple[str, list[Tensor]]]:
    """Tables that a hostile client may send, and what is said of each."""
    beyond, negative, deep = feature.copy(), feature.copy(), feature.copy()
    beyond[0, 0], negative[0, 0], deep[0, -1] = FEATURES + 1, -1, 1
    infinite, huge, hidden, below = value.copy(), value.copy(), value.copy(), feature.copy()
    leaf = np.zeros_like(feature)
    infinite[0, 0], huge[0, 0], hidden[0, 0] = np.nan, 1e13, 0
    below[0], hidden[0] = 0, 0
    below[0, 1], hidden[0, 1] = 1, 7
    return [
        ("splits by feature 4; the model's are 0 to 3", [beyond, value]),
        ("splits by feature -2", [negative, value]),
        ("a node of its last level splits, beyond the depth of 2", [deep, value]),
        ("tensor 'value' holds NaN", [feature, infinite]),
        ("a leaf adds 1e\\+13; up to 1e\\+12", [leaf, huge * (np.arange(7) == 0)]),
        ("below a leaf, is not empty", [leaf, hidden]),
        ("below a leaf, is not empty", [below, value * (np.arange(7) == 0)]),
    ]


HOSTILE = unsound(*drawn(np.random.default_rng(1)))


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_tables_that_are_not_sound_are_refused_and_counted(number: int) -> None:
    """With its sentence; the run goes on with the others' trees."""
    why, tables = HOSTILE[number]
    log, federation = opened_run(rounds=1, quorum=2)
    honest = clients_of(log, federation, 2)
    hostile = LightClient(log, federation, "c2", lambda tensors, _: [tensors[0], *tables], 11)
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    try:
        with pytest.raises(AssertionError, match="did not end"):  # the round waits for an update that counts
            drive(aggregator, [*honest, hostile], turns=60)
        hostile.voice.left()
        drive(aggregator, honest)
    finally:
        aggregator.close()
    (record,) = rounds_of(log, federation)
    (refused,) = record.refused
    assert (refused.client, refused.reason) == ("c2", Reason.NOT_FINITE if "NaN" in why else Reason.TREES)
    assert re.search(why, refused.detail), refused.detail
    assert [item.client for item in record.accepted] == ["c0", "c1"]
    assert int(head_tensors(log, federation)[0][0]) == 2 * ROWS


def test_an_update_of_another_size_is_refused_before_it_is_read() -> None:
    """A manifest that claims more rows than the run's updates bring: no memory in proportion to its claim."""
    update = next(record for _, record in said(*RUN) if isinstance(record, Update))
    for nbytes in (1 << 40, 8):
        huge = msgspec.structs.replace(update, weights=msgspec.structs.replace(update.weights, nbytes=nbytes))
        with pytest.raises(RefusedError, match="bytes"):
            check_update(huge, SPECS, 8 << 30)


@pytest.mark.parametrize(
    "specs",
    [
        (),
        forests.forest_specs(ROOM, DEPTH)[:2],
        forests.forest_specs(ROOM, 11),
        tuple(msgspec.structs.replace(spec, dtype="float32") for spec in forests.forest_specs(ROOM, DEPTH)),
        tuple(msgspec.structs.replace(spec, shape=(5, 6)) for spec in forests.forest_specs(ROOM, DEPTH)),
        tuple(msgspec.structs.replace(spec, shape=(5,)) for spec in forests.forest_specs(ROOM, DEPTH)),
    ],
)
def test_a_run_whose_tensors_are_no_forest_is_known_by_nobody(specs: tuple[TensorSpec, ...]) -> None:
    """A record that opens such a run is refused before anything is read of it."""
    with pytest.raises(ConfigError, match="tensors are not those of a forest"):
        exchange_of(specs, forest=FOREST)


def shares(room: int, coefficients: Sequence[int]) -> tuple[list[Tensor], list[Weighed]]:
    """What becomes of a forest that has room for so many updates."""
    forest = start()
    forest[0][0] = ROOM - room * ROWS
    rows = dict(zip(forests.CARRIED, drawn(np.random.default_rng(0)), strict=True))
    claims = [Claim(f"c{n}", examples) for n, examples in enumerate(coefficients)]
    return grown(make("bagging", {}), SPECS, forest, [(claim, reader(rows)) for claim in claims])  # type: ignore[arg-type]


def test_who_finds_no_room_is_left_out_and_says_so() -> None:
    """Those in front share the round."""
    tensors, weighing = shares(2, [10, 30, 50])
    assert [(w.coefficient, w.left_out) for w in weighing] == [(10, ""), (30, ""), (0, FULL)]
    assert int(tensors[0][0]) == ROOM
    tensors, weighing = shares(0, [10])
    assert weighing[0].left_out == FULL and int(tensors[0][0]) == ROOM


def test_updates_without_examples_make_no_version() -> None:
    """There is nothing to weigh them by."""
    with pytest.raises(AggregationError, match="no examples"):
        shares(2, [0, 0])


WITH: list[tuple[str, StrategyChoice, Rules, str, bool]] = [
    ("strategy.name must not be bagging", BAGGING, Rules(), "strict", False),
    ("strategy.name must be bagging", StrategyChoice(), Rules(), "strict", True),
    ("strategy.name must be bagging", StrategyChoice(name="krum"), Rules(min_clients=5), "strict", True),
    ("mode must be sync", BAGGING, Rules(mode="async"), "strict", True),
    ("encoding_up.name must be raw", BAGGING, Rules(encoding_up=EncodingChoice(name="int8")), "strict", True),
    ("encoding_down.name must be raw", BAGGING, Rules(encoding_down=EncodingChoice(name="int8")), "strict", True),
    ("adapt must be strict", BAGGING, Rules(), "personal", True),
    ("adapt must be strict", BAGGING, Rules(), "slice", True),
] + [
    (f"strategy.params.{kind} must be", StrategyChoice(name="custom", params={"fold": "concatenate", kind: other}),
     Rules(), "strict", True)
    for kind, other in (("bound", "clip"), ("server", "adam"), ("client", "proximal"))
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WITH)))
def test_what_does_not_go_with_trees_is_refused_in_a_sentence(number: int) -> None:
    """Before a run is opened, with the field in front."""
    why, strategy, rules, adapt, forest = WITH[number]
    with pytest.raises(ConfigError, match=f"^{re.escape(why)}"):
        policy.check(strategy, rules, adapt=adapt, forest=forest)


def test_a_combination_by_hand_may_concatenate() -> None:
    """`custom` with the fold of trees is bagging."""
    policy.check(StrategyChoice(name="custom", params={"fold": "concatenate"}), Rules(), forest=True)
