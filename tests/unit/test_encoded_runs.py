"""Runs whose updates and versions travel as encoded changes: proved, rolled back, killed, lied to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregation.blocks import TensorSlice, reader
from mainstem.aggregation.decoding import decoding
from mainstem.aggregation.strategies import OF_NUMBERS
from mainstem.aggregator.federation import Federation
from mainstem.client.encoding import NAME, encode, error_of
from mainstem.client.keep import FileKeep, MemoryKeep
from mainstem.client.pipeline import Origin
from mainstem.client.voice import Presence, UpdateClaim, Voice
from mainstem.lineage import RunFile, export, read_history, recall, replay, verify
from mainstem.protocol.changes import read_version
from mainstem.protocol.encodings import Encoding, make
from mainstem.protocol.exchange import CODE, RESIDUAL, Exchange, exchange
from mainstem.protocol.messages import EncodingChoice, Opened, Reason, Round, Rules, StrategyChoice
from mainstem.protocol.messages import encode as json
from mainstem.protocol.topics import control_topic, data_topic
from mainstem.protocol.weights import Tensor, digest
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of
from tests.support.runs import Ticking, aggregate, command, drive, train
from tests.unit.test_lineage import Altered, detected, everything

MODEL: list[Tensor] = [
    np.linspace(-1, 1, 700).reshape(7, 100).astype(np.float32),
    np.array([1.0, -2.0], np.float32),
    np.array(3, np.int64),
    np.linspace(0, 1, 300),
]
WAYS = {
    "int8 up": ("int8", "raw"), "int4 up": ("int4", "raw"), "topk up": ("topk", "raw"),
    "float16 up": ("float16", "raw"), "int8 down": ("raw", "int8"), "int8 both ways": ("int8", "int8"),
    "int4 both ways": ("int4", "int4"), "topk up, float16 down": ("topk", "float16"),
    "bfloat16 both ways": ("bfloat16", "bfloat16"),
}  # fmt: skip
ROUNDS, COUNT = 4, 3
INT8 = EncodingChoice(name="int8")


def opened_run(up: str, down: str) -> tuple[MemoryLog, str]:
    """A run that waits for its clients."""
    log = MemoryLog(Ticking())
    chosen = Rules(
        rounds=ROUNDS, min_clients=COUNT, max_clients=COUNT + 1, encoding_up=EncodingChoice(name=up),
        encoding_down=EncodingChoice(name=down), keyframe_every=3,
    )  # fmt: skip
    return log, open_federation(log, MODEL, chosen, federation="encoded1")


def clients_of(log: MemoryLog, federation: str, incarnation: str = "1", keeps: Sequence[Any] = ()) -> list[LightClient]:
    """Who takes part."""
    return [
        LightClient(
            log,
            federation,
            f"c{n}",
            train(n),
            10 + n,
            incarnation=incarnation,
            keep=keeps[n] if keeps else MemoryKeep(),
        )
        for n in range(COUNT)
    ]


@cache
def finished(up: str, down: str) -> tuple[MemoryLog, str]:
    """A run to its end."""
    log, federation = opened_run(up, down)
    aggregate(log, federation, clients_of(log, federation))
    return log, federation


RUNS = {name: finished(*way) for name, way in WAYS.items()}


def sha256s(log: MemoryLog, federation: str) -> list[str]:
    """Of the run's versions, in order."""
    return [record.weights.sha256 for record in rounds_of(log, federation)]


# ---------------------------------------------------------------- whole runs
@pytest.mark.parametrize("name", WAYS)
def test_proved_replayed_and_exported(name: str, tmp_path: Path) -> None:
    """Each version to the byte, from the topics and from a file of the run."""
    log, federation = RUNS[name]
    assert [(p.version, p.state) for p in verify(log, federation)] == [(v, "proved") for v in range(ROUNDS + 1)]
    assert [again.same for again in replay(log, federation)] == [True] * ROUNDS
    assert [again.same for again in replay(log, federation, round=2)] == [True], "by a reader that begins there"
    assert export(log, federation, tmp_path / "run").incomplete == ()
    with RunFile(tmp_path / "run") as file:
        assert [p.state for p in file.proofs()] == ["proved"] * (ROUNDS + 1)
        assert all(again.same for again in replay(file, federation))
    assert [d.version for d in recall(log, federation, client="c1", round=2)] == [2, 3, 4]


@pytest.mark.parametrize("strategy", OF_NUMBERS)
def test_every_strategy_sees_tensors(strategy: str) -> None:
    """What an encoding does is done before a strategy looks; its own state goes beside what is left over."""
    log = MemoryLog(Ticking())
    rules = Rules(rounds=2, min_clients=7, max_clients=7, encoding_up=INT8, encoding_down=INT8)
    federation = open_federation(log, MODEL, rules, StrategyChoice(name=strategy), federation="encoded2")
    aggregate(log, federation, [LightClient(log, federation, f"c{n}", train(n), 10 + n) for n in range(7)])
    assert [p.state for p in verify(log, federation)] == ["proved"] * 3
    assert [again.same for again in replay(log, federation)] == [True] * 2
    assert RESIDUAL in rounds_of(log, federation)[-1].state


@pytest.mark.parametrize("name", WAYS)
def test_the_model_is_near_the_one_of_whole_tensors(name: str) -> None:
    """After four rounds, as far as the encoding lets it."""
    plain = head_tensors(*finished("raw", "raw"))
    apart = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(plain, head_tensors(*RUNS[name]), strict=True)]
    most = {"topk": 2.0, "int4": 0.1}.get(WAYS[name][0], 0.02)
    assert max(apart) < most and apart[2] == 0


@pytest.mark.parametrize("name", WAYS)
def test_bytes_and_errors_are_told(name: str) -> None:
    """What an update takes follows from its encoding; what that lost stands in its report."""
    log, federation = RUNS[name]
    up, down = WAYS[name]
    specs = exchange(read_history(log, federation).opened)
    whole = sum(t.nbytes for t in MODEL if t.dtype.kind == "f")
    for record in rounds_of(log, federation):
        assert {a.nbytes for a in record.accepted} == {
            whole if specs.encoding is None else specs.encoding.nbytes(specs.elements)
        }
        errors = [a.report.encoding_error for a in record.accepted]
        assert errors == [None] * COUNT if up == "raw" else all(e is not None and 0 < e < 1 for e in errors)
        change = record.weights.change
        assert (change is None) == (down == "raw")
        if change is not None and specs.down is not None:
            assert change.nbytes == specs.down.nbytes(specs.elements) < whole
            assert bool(record.weights.chunks) == (record.version in (3, ROUNDS)), "whole in its turn, and at the end"


@pytest.mark.parametrize("name", ["int8 both ways", "topk up, float16 down"])
def test_a_new_aggregator_and_new_clients_each_turn_change_no_byte(name: str, tmp_path: Path) -> None:
    """All of them killed and started again after every few turns: from the log, and from the clients' files."""
    log, federation = opened_run(*WAYS[name])
    opened = read_history(log, federation).opened
    keeps = [FileKeep(tmp_path, opened, f"c{n}") for n in range(COUNT)]
    for number in range(500):
        aggregator = Federation(log, federation, clock=Ticking(), writer=f"w{number}", retain=number % 2 << 20)
        try:
            drive(aggregator, clients_of(log, federation, f"{number}", keeps), turns=3 + number % 4)
            break
        except AssertionError:
            continue  # killed in mid-run
        finally:
            aggregator.close()
    assert sha256s(log, federation) == sha256s(*RUNS[name])


class Dying(Exception):
    """A process is gone."""


class DyingKeep(FileKeep):
    """Dies before or after it has put down or confirmed, once."""

    when = ""

    def put(self, base: int, state: Any, began: Any) -> None:
        """See `Keep`."""
        self._at("before put", base)
        super().put(base, state, began)
        self._at("after put", base)

    def confirm(self, base: int) -> None:
        """See `Keep`."""
        self._at("before confirm", base)
        super().confirm(base)
        self._at("after confirm", base)

    def _at(self, place: str, base: int) -> None:
        if self.when == place and base > 1:
            self.when = ""
            raise Dying


@pytest.mark.parametrize("when", ["before put", "after put", "before confirm", "after confirm"])
def test_a_client_killed_between_keeping_and_sending_comes_to_the_same_bytes(when: str, tmp_path: Path) -> None:
    """Error feedback goes on as if nothing had been."""
    log, federation = opened_run(*WAYS["topk up"])
    opened = read_history(log, federation).opened
    keeps = [DyingKeep(tmp_path, opened, f"c{n}") for n in range(COUNT)]
    keeps[1].when = when
    clients = clients_of(log, federation, "1", keeps)
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    for number in itertools.count(2):
        try:
            drive(aggregator, clients)
            break
        except Dying:
            clients = clients_of(log, federation, str(number), keeps)
    aggregator.close()
    assert not keeps[1].when and sha256s(log, federation) == sha256s(*RUNS["topk up"])


@pytest.mark.parametrize("name", ["int8 both ways", "int8 up"])
def test_a_rollback_takes_what_was_left_over_back_too(name: str) -> None:
    """The rounds made anew are proved; a version gone back to is read by the way on which it was made."""
    log, federation = opened_run(*WAYS[name])
    aggregate(log, federation, clients_of(log, federation))
    first = {r.version: r for r in rounds_of(log, federation)}
    command(log, federation, "rollback", version=2)
    aggregate(log, federation, clients_of(log, federation, "2"))
    head = read_history(log, federation).head
    assert head.states[2] == head.states[3] == first[2].state
    way = head.way(6)
    assert way is not None and way.end.sha256 == head.weights.sha256
    if WAYS[name][1] != "raw":
        assert [len(read_history(log, federation).way(v).steps) for v in (0, 1, 2, 3, 4, 5, 6)] == [0, 1, 2, 0, 0, 3, 0]  # type: ignore[union-attr]
    assert [p.state for p in verify(log, federation)] == ["proved"] * 7


def test_any_way_to_a_version_gives_its_bytes() -> None:
    """From the last whole one, and from any version that is held; nobody can write to what is held."""
    log, federation = RUNS["int8 both ways"]
    history = read_history(log, federation)
    specs, topic = exchange(history.opened), data_topic(federation)
    found = {}
    for version in range(ROUNDS + 1):
        way = history.way(version)
        assert way is not None
        found[version] = read_version(log, topic, way, specs)
        assert digest(specs.model, found[version]) == way.end.sha256
        for held in range(version):
            before = history.way(held)
            assert before is not None
            again = read_version(log, topic, way, specs, {before.end.sha256: found[held]})
            assert digest(specs.model, again) == way.end.sha256


# ---------------------------------------------------------------- proofs
def test_any_missing_or_changed_record_is_found() -> None:
    """Changes, whole versions, what is left over, and the clients' updates."""
    log, federation = RUNS["int8 both ways"]
    named = [r for r in everything(log, federation) if r.headers and r.value]
    assert len(named) >= 1 + ROUNDS * 2 + 2 + ROUNDS * COUNT
    for record in named:
        place, value = (record.topic, record.offset), bytes([(record.value or b" ")[0] ^ 1]) + (record.value or b"")[1:]
        for changed in (None, replace(record, value=value)):
            assert detected(Altered(log, place, changed, record.partition), federation), record


def test_a_round_that_lies_about_its_change_is_found() -> None:
    """Another change, none, one of another encoding, no whole version in its turn."""
    log, federation = RUNS["int8 both ways"]
    history = read_history(log, federation)
    rounds = [record for _, record in history.steps() if isinstance(record, Round)]
    record, before = rounds[2], rounds[1]
    change = record.weights.change
    assert change is not None
    changes: list[dict[str, Any]] = [{"encoding": "int4"}, {"sha256": "0" * 64}]
    lies: list[dict[str, Any]] = [
        {"change": before.weights.change}, {"change": None}, {"chunks": ()}, {"sha256": before.weights.sha256},
        *({"change": msgspec.structs.replace(change, **wrong)} for wrong in changes),
    ]  # fmt: skip
    (offset,) = [link.offset for link in history.links if link.record == record]
    (original,) = log.read(control_topic(federation), 0, offset, offset + 1)
    for lie in lies:
        value = json(msgspec.structs.replace(record, weights=msgspec.structs.replace(record.weights, **lie)))
        assert detected(Altered(log, (original.topic, offset), replace(original, value=value)), federation), lie


# ---------------------------------------------------------------- the stage
def origin_of(up: str, untrained: tuple[int, ...] = (), frozen: tuple[int, ...] = ()) -> Origin:
    """Where a client's round begins."""
    log, federation = opened_run(up, "raw")
    opened: Opened = msgspec.structs.replace(read_history(log, federation).opened, untrained=untrained, frozen=frozen)
    return Origin(opened, exchange(opened), "c0", read_history(log, federation).head.base, MODEL)


@pytest.mark.parametrize("up", ["int8", "int4", "topk", "float16", "bfloat16"])
def test_only_what_gradients_change_is_encoded(up: str) -> None:
    """BatchNorm's statistics travel as they are, frozen tensors and integers not at all; the rest is base + change."""
    origin = origin_of(up, untrained=(1,), frozen=(3,))
    specs, stage = exchange(origin.opened), encode(origin)
    assert stage is not None and list(specs.change) == [CODE, 1]
    trained = [t + np.ones_like(t) for t in MODEL]
    carried, state = stage(trained, {})
    read = decoding(reader_by(specs, carried), specs, reader(MODEL))
    left, error = state[NAME]
    wanted = np.ones(700, np.float32)
    (whole,) = read([TensorSlice(0, 0, 700)])
    assert np.allclose(whole, MODEL[0].reshape(-1) + (wanted - left), atol=1e-6) and error_of(state) == error
    parts = read([TensorSlice(0, 90, 91), TensorSlice(0, 91, 400), TensorSlice(1, 0, 2), TensorSlice(0, 400, 700)])
    assert np.concatenate([parts[0], parts[1], parts[3]]).tobytes() == whole[90:].tobytes()
    assert parts[2].tolist() == trained[1].tolist()


def reader_by(specs: Exchange, carried: Sequence[Tensor]) -> Callable[[Any], list[Tensor]]:
    """Reads an update's tensors by their numbers."""
    tensors = dict(zip(specs.change, carried, strict=True))
    return lambda block: [tensors[part.tensor].reshape(-1)[part.start : part.stop] for part in block]


def test_an_encoding_that_is_not_asked_for_is_no_stage() -> None:
    """What is trained is published as it is."""
    assert encode(origin_of("raw")) is None


def test_a_client_that_diverged_keeps_what_it_had() -> None:
    """Its update says so and is refused; the next one goes on from what was left over before."""
    origin = origin_of("int8")
    stage = encode(origin)
    assert stage is not None
    before = {NAME: [np.ones(1002, np.float32), np.array(0.5)]}
    _, state = stage([np.full_like(t, np.nan) if t.dtype.kind == "f" else t for t in MODEL], before)
    assert state[NAME] is before[NAME]


def test_seeds_are_those_of_run_client_and_base() -> None:
    """The same update again has the same bytes; another client's has others."""
    origin = origin_of("int4")
    trained = [t + np.linspace(0, 1, t.size).reshape(t.shape) if t.dtype.kind == "f" else t for t in MODEL]

    def payload(of: Origin) -> bytes:
        stage = encode(of)
        assert stage is not None
        return stage(trained, {})[0][0].tobytes()

    other = replace(origin, client="c1")
    later = replace(origin, base=msgspec.structs.replace(origin.base, version=7))
    assert payload(origin) == payload(origin)
    assert len({payload(origin), payload(other), payload(later)}) == 3


# ---------------------------------------------------------------- bad input
def coded(specs: Exchange, damage: Callable[[Any], None]) -> list[Tensor]:
    """A payload with some damage done to it."""
    assert specs.encoding is not None
    payload = specs.encoding.encode(np.linspace(-1, 1, specs.elements).astype(np.float32), 1)
    damage(payload)
    return [payload]


def undamaged(specs: Exchange) -> tuple[Exchange, list[Tensor]]:
    """A sound payload of it."""
    return specs, coded(specs, lambda payload: None)


def with_encoding(specs: Exchange, name: str, **params: Any) -> Exchange:
    """As if the run had another."""
    made = make(EncodingChoice(name=name, params=params))
    assert isinstance(made, Encoding)
    return replace(specs, encoding=made)


def put(kind: str, place: int, value: float) -> Callable[[Any], None]:
    """Damage: a number somewhere."""

    def damage(payload: Any) -> None:
        payload[place : place + 4].view(kind)[...] = value

    return damage


HOSTILE: dict[str, tuple[str, Callable[[Exchange], tuple[Exchange, list[Tensor]]], str, str]] = {
    "a scale of NaN": ("int8", lambda s: (s, coded(s, put("<f4", 4, np.nan))), Reason.ENCODING, "NaN or infinity"),
    "an infinite scale": ("int4", lambda s: (s, coded(s, put("<f4", 0, np.inf))), Reason.ENCODING, "NaN or infinity"),
    "a negative scale": ("int8", lambda s: (s, coded(s, put("<f4", 0, -1))), Reason.ENCODING, "negative"),
    "a scale that leaves float32": (
        "int8", lambda s: (s, coded(s, put("<f4", 0, 1e38))), Reason.ENCODING, "the largest that decodes"
    ),
    "an index out of range": (
        "topk", lambda s: (s, coded(s, put("<u4", 40, 99_999))), Reason.ENCODING, "at index 99,999 of 1,002"
    ),
    "a repeated index": ("topk", lambda s: (s, coded(s, put("<u4", 4, 0))), Reason.ENCODING, "each of them once"),
    "an infinite value": ("topk", lambda s: (s, coded(s, put("<f4", 44, np.inf))), Reason.ENCODING, "NaN or infinity"),
    "an encoding that was not offered": (
        "int8", lambda s: undamaged(with_encoding(s, "int4")), Reason.ENCODING,
        "it is encoded as 'int4', which this run does not offer: updates travel as int8",
    ),
    "whole tensors": (
        "int8", lambda s: (replace(s, encoding=None), [MODEL[0], MODEL[1], MODEL[3]]), Reason.ENCODING,
        "it is encoded as 'raw', which this run does not offer: updates travel as int8",
    ),
    "a payload of another length": (
        "topk", lambda s: undamaged(with_encoding(s, "topk", fraction=0.5)), Reason.SHAPE, "tensors take 88 bytes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_payload_is_refused_and_the_run_goes_on(what: str) -> None:
    """With its sentence, in the round's record; the version is the one without it."""
    up, make_, reason, said = HOSTILE[what]
    log, federation = opened_run(up, "raw")
    specs = exchange(read_history(log, federation).opened)
    hostile = Voice(log, federation, "mallory", "1")
    hostile.joined(Presence(5))
    sent = make_(specs)
    hostile.update(read_history(log, federation).head.base, 0, *sent, UpdateClaim(5))
    hostile.left()
    aggregate(log, federation, clients_of(log, federation))
    (refused,) = [r for record in rounds_of(log, federation) for r in record.refused if r.client == "mallory"]
    assert refused.reason == reason and said in refused.detail
    assert sha256s(log, federation) == sha256s(*finished(up, "raw"))


def test_a_sparse_update_that_claims_ten_gigabytes() -> None:
    """Its manifest is refused before anything is read, let alone allocated."""
    log, federation = opened_run("topk", "raw")
    head = read_history(log, federation).head
    voice = Voice(log, federation, "mallory", "1")
    voice.joined(Presence(5))
    specs = exchange(head.opened)
    weights = voice.chunks(specs.payloads[0], coded(specs, lambda p: None), "x")
    lying = msgspec.structs.replace(weights, nbytes=10 << 30)
    voice.send(voice.manifest(head.base, 0, {"": lying}, UpdateClaim(5), "topk"))
    voice.left()
    aggregate(log, federation, clients_of(log, federation))
    (refused,) = [r for record in rounds_of(log, federation) for r in record.refused if r.client == "mallory"]
    assert refused.reason == Reason.TOO_LARGE and "10,737,418,240 bytes" in refused.detail


def test_a_change_that_leaves_the_models_numbers_is_refused() -> None:
    """Whatever it would be added to: no aggregate can then fail on it."""
    log, federation = opened_run("bfloat16", "raw")
    head = read_history(log, federation).head
    specs = exchange(head.opened)
    voice = Voice(log, federation, "mallory", "1")
    voice.joined(Presence(5))
    assert specs.encoding is not None
    payload = specs.encoding.encode(np.full(specs.elements, 3.38e38, np.float32), 1)
    payload[:2] = np.array([0x7F7F], "<u2").view(np.uint8)  # the largest of them
    voice.update(head.base, 0, specs, [payload], UpdateClaim(5))
    voice.left()
    aggregate(log, federation, clients_of(log, federation))
    refusals = [r for record in rounds_of(log, federation) for r in record.refused if r.client == "mallory"]
    assert [p.state for p in verify(log, federation)] == ["proved"] * (ROUNDS + 1)
    assert len(refusals) <= 1
