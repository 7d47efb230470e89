"""Runs whose sites have other models than the federation's: what each sends, what becomes of it, what is proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregation.slices import leading
from mainstem.aggregator.federation import Federation
from mainstem.client.personal import Site
from mainstem.client.voice import Presence, UpdateClaim, Voice
from mainstem.errors import ConfigError, RefusedError
from mainstem.lineage import RunFile, export, read_history, recall, replay, verify
from mainstem.lineage.examining import examine
from mainstem.protocol.exchange import exchange, exchange_of, narrow, sent
from mainstem.protocol.messages import (
    Adaptation,
    Base,
    Opened,
    Reason,
    Rules,
    StrategyChoice,
    TensorSpec,
    Update,
    Weights,
)
from mainstem.protocol.weights import Tensor, specs_of
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, command, drive, train
from tests.support.sent import carried, said

ROUNDS = 3
SMALL: Sequence[Tensor] = [np.zeros((2, 3)), np.zeros(1, np.float32), np.array(0, np.int64)]
"""A narrower model: the leading part of each of START's tensors."""
OTHER: Sequence[Tensor] = [np.zeros((3, 4)), np.full(5, 9, np.float32), np.ones(2, np.float32)]
"""One whose second tensor has another shape, with one more in the place of the counter."""


def site(tensors: Sequence[Tensor], *names: str) -> Callable[[Opened], Site]:
    """A site with a model of these tensors."""
    return lambda opened: Site(opened, specs_of(zip(names, tensors, strict=True)), "{}", tensors)


NARROW = site(SMALL, "t0", "t1", "t2")
MIXED: dict[str, list[Any]] = {
    "slice": [Site, NARROW, site([np.zeros((1, 4))], "t0")],
    "partial": [Site, site(OTHER, "t0", "t1", "own"), site([np.zeros(2, np.float32)], "t1")],
}


def begun(adapt: str, strategy: str = "fedavg", **rules: Any) -> tuple[MemoryLog, str, Opened]:
    """A log with a federation of three clients that is open."""
    log = MemoryLog(Ticking())
    chosen = Rules(rounds=ROUNDS, min_clients=3, max_clients=3, **rules)
    federation = open_federation(
        log, START, chosen, StrategyChoice(name=strategy), federation="differed",
        adaptation=Adaptation(adapt=adapt),  # type: ignore[arg-type]
    )  # fmt: skip
    return log, federation, read_history(log, federation).opened


def clients_of(log: MemoryLog, federation: str, adapt: str, packed: int = 1 << 20) -> list[LightClient]:
    """A client of each of the mixed sites."""
    return [
        LightClient(log, federation, f"c{n}", train(n), 10 + n, packed=packed, site=made)
        for n, made in enumerate(MIXED[adapt])
    ]


def by_hand(opened: Opened, sites: Sequence[Site], rounds: int) -> list[Tensor]:
    """The last version by NumPy in float64: each element the weighted mean over those who sent it."""
    version: list[Any] = list(START)
    kept: list[Any] = [{} for _ in sites]
    for seq in range(rounds):
        total, weight = [np.zeros(t.shape) for t in version], [np.zeros(t.shape) for t in version]
        for number, one in enumerate(sites):
            trained = train(number)(one.down(version, kept[number]), seq)
            kept[number] = one.staying(trained)
            up = one.up(trained)
            for place in one.exchange.carried:
                at = leading(up[place].shape)
                total[place][at] += (10 + number) * up[place].astype("float64")
                weight[place][at] += 10 + number
        floats = [t.dtype.kind == "f" for t in version]
        version = [
            np.where(w > 0, s / np.where(w > 0, w, 1), v).astype(v.dtype) if fine else v
            for s, w, v, fine in zip(total, weight, version, floats, strict=True)
        ]
    return version


@pytest.mark.parametrize("packed", [0, 1 << 20])
@pytest.mark.parametrize("adapt", ["slice", "partial"])
def test_mixed_sites_make_one_model(adapt: str, packed: int, tmp_path: Path) -> None:
    """Each sends what it has; versions are the means over those who sent, are proved, replayed, exported, recalled."""
    log, federation, opened = begun(adapt)
    aggregate(log, federation, clients_of(log, federation, adapt, packed))
    sites = [made(opened) for made in MIXED[adapt]]
    for found, expected in zip(head_tensors(log, federation), by_hand(opened, sites, ROUNDS), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    for record, update in said(log, federation):
        if isinstance(update, Update):
            one = sites[int(update.client[1:])]
            assert update.tensors == (() if one.whole else one.exchange.payloads[0])
            shapes = [spec.shape for spec in one.exchange.payloads[0]]
            assert [t.shape for t in carried(log, opened, record.offset, update)] == shapes
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * (ROUNDS + 1)
    assert all(again.same for again in replay(log, federation))
    assert replayed_without(log, federation, "c1")
    assert [d.version for d in recall(log, federation, client="c1", round=1)] == [1, 2, 3]
    assert all(measure.norm for measure in examine(log, federation, 2).measures)
    assert export(log, federation, tmp_path / "run").incomplete == ()
    with RunFile(tmp_path / "run") as file:
        assert [proof.state for proof in verify(file, federation)] == ["proved"] * (ROUNDS + 1)
    with pytest.raises(ConfigError, match=f"adapt must not be {adapt}: fold median needs every update whole"):
        list(replay(log, federation, strategy=StrategyChoice(name="median")))


def replayed_without(log: MemoryLog, federation: str, client: str) -> bool:
    """Whether each round would have come out otherwise without it."""
    return all(not again.same for again in replay(log, federation, without=[client]))


@pytest.mark.parametrize("adapt", ["slice", "partial"])
@pytest.mark.parametrize("strategy", ["fedadam", "fedavgm"])
def test_a_server_steps_where_somebody_sent(adapt: str, strategy: str) -> None:
    """Its moments are kept and proved; a rollback takes them back."""
    log, federation, _ = begun(adapt, strategy)
    aggregate(log, federation, clients_of(log, federation, adapt))
    command(log, federation, "rollback", version=1)
    again = [
        LightClient(log, federation, f"c{n}", train(n), 10 + n, incarnation="2", site=made)
        for n, made in enumerate(MIXED[adapt])
    ]
    aggregate(log, federation, again)
    assert {proof.state for proof in verify(log, federation)} == {"proved"}
    assert all(again.same for again in replay(log, federation))


def test_late_parts_are_moved_where_they_are() -> None:
    """Asynchronous rounds of a narrow and a whole site: each update from an older base is what it changed."""
    log, federation, _ = begun("slice", mode="async")
    aggregate(log, federation, clients_of(log, federation, "slice"))
    rounds = rounds_of(log, federation)
    assert any(item.base != made.base for made in rounds for item in made.accepted)
    assert {proof.state for proof in verify(log, federation)} == {"proved"}


# ---------------------------------------------------------------- who cannot take part
@pytest.mark.parametrize(
    ("adapt", "tensors", "names", "says"),
    [
        ("slice", [np.zeros((4, 4))], ["t0"], "t0: its dimension 0 is 4, the federation's 3"),
        ("slice", [np.zeros(3)], ["t0"], "t0: it has 1 dimensions, the federation's 2"),
        ("slice", [np.zeros((3, 4), "float32")], ["t0"], "t0: it is float32 here and float64 in the federation"),
        ("slice", [np.zeros(2)], ["more"], "more: the federation's model has no such tensor"),
        ("partial", [np.zeros((2, 4))], ["t0"], "nothing of the site's model fits"),
        ("strict", SMALL, ["t0", "t1", "t2"], "whose adapt is strict: t0: it has another shape"),
    ],
)
def test_a_site_that_does_not_fit_says_why(adapt: str, tensors: list[Tensor], names: list[str], says: str) -> None:
    """Before it joins."""
    _, _, opened = begun(adapt)
    with pytest.raises(ConfigError, match=says):
        site(tensors, *names)(opened)


# ---------------------------------------------------------------- what peers may claim
SPECS = exchange_of(specs_of((f"t{n}", t) for n, t in enumerate(START)), adapt="slice")


def spec(name: str, *shape: int, dtype: str = "float64") -> TensorSpec:
    """A tensor's."""
    return TensorSpec(name=name, dtype=dtype, shape=shape)


HOSTILE: list[tuple[str, tuple[TensorSpec, ...], str]] = [
    ("slice", (spec("t0", 4, 4),), "tensor 't0' does not fit: its dimension 0 is 4, the federation's 3"),
    ("slice", (spec("t0", 1 << 50, 1 << 50),), "tensor 't0' does not fit: its dimension 0 is"),
    ("slice", (spec("t0", 3),), "tensor 't0' does not fit: it has 1 dimensions, the federation's 2"),
    ("slice", (spec("t0", 0, 4),), "tensor 't0' does not fit: its dimension 0 is 0"),
    ("slice", (spec("t0", 3, 4, dtype="float32"),), "tensor 't0' is float32, the model has it as float64"),
    ("slice", (spec("secret", 1),), "it carries tensor 'secret', which is none that this run's updates carry"),
    ("slice", (spec("t2", dtype="int64"),), "it carries tensor 't2', which is none that this run's updates carry"),
    ("slice", (spec("t0", 3, 4), spec("t0", 3, 4)), "it carries tensor 't0' twice, or not in the model's order"),
    ("slice", (spec("t1", 2, dtype="float32"), spec("t0", 3, 4)), "it carries tensor 't0' twice, or not in"),
    ("slice", (spec("t0", 3, 4),) * 9, "it names 9 tensors; this run's updates carry 2 at most"),
    ("partial", (spec("t0", 2, 4),), "tensor 't0' does not fit: updates carry a tensor whole or not at all"),
    ("strict", (spec("t0", 2, 4),), "it names tensors of its own; this run's adapt is strict"),
]


@pytest.mark.parametrize(("adapt", "claimed", "says"), HOSTILE)
def test_lies_about_what_is_carried_are_refused(adapt: str, claimed: tuple[TensorSpec, ...], says: str) -> None:
    """By the manifest alone, with the tensor's name."""
    weights = Weights(writer="c", update="u", nbytes=0, sha256="0" * 64)
    update = Update(
        client="c", incarnation="1", base=Base(seq=0, version=0), number=0, examples=1, weights=weights, tensors=claimed
    )
    with pytest.raises(RefusedError) as refused:
        sent(update, exchange_of(SPECS.model, adapt=adapt))
    assert refused.value.detail.startswith(says) and refused.value.reason == Reason.SHAPE


def test_hostile_updates_change_nothing() -> None:
    """Each refused with its sentence, and the run ends with the bytes that it has without them."""
    ends = []
    for hostile in (False, True):
        log, federation, opened = begun("slice")
        aggregator = Federation(log, federation, clock=Ticking(), writer="w")
        clients = clients_of(log, federation, "slice")
        if hostile:
            voice = Voice(log, federation, "c1", "1")
            voice.joined(Presence(11))
            whole, lie = exchange(opened), Lying(log, federation, "c1", "1")
            base = read_history(log, federation).head.base
            for adapt, claimed, _ in HOSTILE:
                if adapt == "slice":
                    lie.claimed = claimed
                    lie.update(base, 0, narrow(whole, {0: (3, 4)}), [START[0]], UpdateClaim(11))
        try:
            drive(aggregator, clients)
        finally:
            aggregator.close()
        ends.append([t.tobytes() for t in head_tensors(log, federation)])
        told = [refused.detail for made in rounds_of(log, federation) for refused in made.refused]
        lies = [says for adapt, _, says in HOSTILE if adapt == "slice"]
        assert not hostile or all(any(detail.startswith(says) for detail in told) for says in lies)
    assert ends[0] == ends[1]


class Lying(Voice):
    """A client that sends a tensor and claims another."""

    claimed: tuple[TensorSpec, ...] = ()

    def manifest(self, *arguments: Any, **more: Any) -> Update:
        """With its own words."""
        return msgspec.structs.replace(super().manifest(*arguments, **more), tensors=self.claimed)
