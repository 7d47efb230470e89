"""Runs of any length without a broker or training: the records of a control topic, and a database that holds them.

    python -m tests.support.long_runs long0001 --home DIR --rounds 1000 --clients 100 [--mode async] [--open]

writes such a run into the database of the platform in DIR (which may run meanwhile) within seconds: the rows are
those that the control logger's deliveries would have made, folded by the same rules. Only records exist, no weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from mainstem.protocol.chain import Chain, Head, Link
from mainstem.protocol.control import Entry, topics_of
from mainstem.protocol.log import Record
from mainstem.protocol.messages import (
    Accepted,
    Adaptation,
    Base,
    Closed,
    ControlRecord,
    Finished,
    Lifecycle,
    Member,
    MemberState,
    Metrics,
    Opened,
    Progress,
    Report,
    Round,
    Rules,
    Snapshot,
    Stopped,
    StrategyChoice,
    TensorSpec,
    encode,
    sha256,
)
from mainstem.protocol.topics import control_topic
from mainstem.rounds import successor
from tests.support.chains import opened, weights

if TYPE_CHECKING:
    from backend.deployments.models import Deployment

STARTED_MS = 1_790_000_000_000
ROUND_MS = 10_000
CLUSTER = "told"
AHEAD = 0.125
HEAD = TensorSpec(name="head/kernel", dtype="float32", shape=(4, 2))
BATCH = 100
"""Rounds that are written at one time."""


class Story:
    """The records of a run, each made when it is asked for: `clients` hospitals that learn over `rounds` rounds.

    In the modes `async` and `buffered` a round has one update (or a tenth of the clients'), each started up to three
    versions before the head, and received shortly before its round opened: the log holds it before the commit that
    opens it. `scale` is in how many rounds the loss falls by a factor of e. The last `lost` of the clients are left
    out, but for every fourth round; then each has a score, and theirs are far above the others'. With `own` a tensor
    stays at each site, whose own model is `AHEAD` better than the federation's.
    """

    def __init__(
        self,
        federation: str,
        clients: int,
        rounds: int,
        *,
        mode: str = "sync",
        scale: float = 18.0,
        name: str = "",
        lost: int = 0,
        own: bool = False,
    ) -> None:
        self.own = own
        self.lost, self._strategy = lost, StrategyChoice(name="krum" if lost else "fedavg")
        self.federation, self.mode, self.scale = federation, mode, scale
        self.name = name or f"Told {federation}"
        self.clients = [f"hospital-{number:03d}" for number in range(clients)]
        self.total = rounds
        self._offset, self._ms = 0, STARTED_MS
        self._chain = Chain()
        self._bases: list[Base] = []

    @property
    def topic_id(self) -> str:
        """Of its control topic."""
        return f"told-{self.federation}"

    @property
    def head(self) -> Head:
        """The chain's head, once the run is opened."""
        head = self._chain.head
        assert head is not None
        return head

    def told(self, record: ControlRecord) -> tuple[Record, Entry]:
        """The next record of the topic, and what a reader makes of it."""
        value = encode(record)
        self._ms += 1
        stored = Record(control_topic(self.federation), 0, self._offset, self._ms, None, value)
        link = Link(self._offset, self._ms, sha256(value), record) if isinstance(record, Lifecycle) else None
        assert link is None or self._chain.offer(link), record
        self._offset += 1
        return stored, Entry(stored.offset, stored.timestamp_ms, record, link)

    def opening(self) -> Opened:
        """The first record."""
        rules = Rules(
            mode=self.mode, rounds=self.total, min_clients=len(self.clients), buffer=max(1, len(self.clients) // 10)
        )
        first = msgspec.structs.replace(
            opened(), federation=self.federation, topics=topics_of(self.federation), name=self.name, rules=rules
        )
        first = msgspec.structs.replace(first, strategy=self._strategy, weights=weights("f" * 64))
        if not self.own:
            return first
        head, tensors = Adaptation(adapt="personal", personal=("head/*",)), (*first.tensors, HEAD)
        return msgspec.structs.replace(first, adaptation=head, tensors=tensors, personal=(len(first.tensors),))

    def round(self) -> Round:
        """The next round, `ROUND_MS` after the one before."""
        head, number = self.head, self.head.round + 1
        self._ms += ROUND_MS
        self._bases = [*self._bases[-3:], head.base]
        taking = self._taking(number)
        record = successor(
            head,
            Round,
            {
                "round": number,
                "version": head.version + 1,
                "base": head.base,
                "strategy": self._strategy,
                "accepted": tuple(self._accepted(number, index) for index in taking),
                "weights": weights(f"{number:064x}"),
                "snapshot": Snapshot(
                    position=number, time_ms=self._ms, members=tuple(self._member(i) for i in range(len(self.clients)))
                ),
                "closed": Closed(by="all", offset=number, time_ms=self._ms - 20),
                "opened_ms": self._ms - ROUND_MS,
                "writer": "told",
                "evaluation": self.measured(number, 0),
                "personal": self._own(number, 0),
            },
        )
        assert isinstance(record, Round)
        return record

    def progress(self, count: int) -> Iterator[Progress]:
        """So many words about the open round: each has a client more that has uploaded, in turn."""
        for step in range(count):
            sent = step % (len(self.clients) + 1)
            states = ["accepted" if index < sent else "training" for index in range(len(self.clients))]
            yield Progress(
                federation=self.federation,
                phase="open",
                round=self.head.round + 1,
                needed=len(self.clients) - sent,
                deadline_ms=self._ms + ROUND_MS,
                members=tuple(
                    MemberState(client=client, state=state, awaited=state == "training", last_ms=self._ms, examples=400)
                    for client, state in zip(self.clients, states, strict=True)
                ),
            )

    def finishing(self) -> Finished:
        """The last record, with what was measured of the last version."""
        number, of = self.head.round + 1, range(len(self.clients)) if self.own else ()
        fields = {
            "version": self.head.version,
            "sha256": self.head.weights.sha256,
            "evaluation": self.measured(number, 0),
            "evaluations": {self.clients[index]: self.measured(number, index) for index in of},
            "personal": self._own(number, 0),
            "personals": {self.clients[index]: self._own(number, index) for index in of},
        }
        record = successor(self.head, Finished, fields)
        assert isinstance(record, Finished)
        return record

    def stopping(self) -> Stopped:
        """The record of a run that was stopped."""
        record = successor(self.head, Stopped, {})
        assert isinstance(record, Stopped)
        return record

    def whole(self, finished: bool = True) -> Iterator[ControlRecord]:
        """All records of the run in order: to its end, or with its last round still open. Tell each before the next."""
        yield self.opening()
        yield from self.progress(1)
        for _ in range(self.total if finished else self.total - 1):
            yield self.round()
        yield from [self.finishing()] if finished else self.progress(1)

    def measured(self, number: int, index: int) -> Metrics:
        """What client `index` measures in a round: the loss falls from 2.4 towards 0.1."""
        loss = 2.3 * math.exp(-number / self.scale) + 0.05 * math.sin(index * 2.3 + number * 0.9) + 0.1
        return Metrics(examples=400, values={"accuracy": 1 - loss / 3, "loss": loss})

    def _own(self, number: int, index: int) -> Metrics | None:
        """What it measures of a model of its own, where it has one."""
        if not self.own:
            return None
        values = self.measured(number, index).values
        return Metrics(examples=400, values={"accuracy": values["accuracy"] + AHEAD, "loss": values["loss"] - AHEAD})

    def _taking(self, number: int) -> range | list[int]:
        count = len(self.clients)
        many = {"async": 1, "buffered": max(1, count // 10)}.get(self.mode, count)
        return [(number * many + index) % count for index in range(many)]

    def _accepted(self, number: int, index: int) -> Accepted:
        train = 4 + 3 * abs(math.sin(index * 1.7 + number))
        received = self._ms - ROUND_MS + round(train * 1000) + 300
        far = index >= len(self.clients) - self.lost
        left_out = "not chosen" if far and number % 4 else ""
        base = self._bases[-1]
        if self.mode != "sync":
            base = self._bases[-1 - (index + number) % len(self._bases)]
            received = self._ms - ROUND_MS - 60
        return Accepted(
            client=self.clients[index],
            offset=number * 1000 + index,
            sha256=f"{number * 1000 + index:064x}",
            record="0" * 64,
            nbytes=814_120,
            base=base,
            number=0,
            examples=400 + 7 * index,
            coefficient=0.0 if left_out else 400.0 + 7 * index,
            score=(40.0 if far else 1.0) + math.sin(index + number) ** 2 if self.lost else None,
            left_out=left_out,
            received_ms=received,
            report=Report(
                training=self.measured(number, index),
                evaluation=self.measured(number - 1, index) if self.own else None,
                personal=self._own(number - 1, index),
                train_seconds=train,
                upload_seconds=0.2,
            ),
        )

    def _member(self, index: int) -> Member:
        return Member(client=self.clients[index], incarnation="1", joined=index, examples=400, last_ms=self._ms)


# ---------------------------------------------------------------- into a database
def write(story: Story, *, finished: bool = True) -> Deployment:
    """Put the story's rounds into Django's database, then its end (or its last round, still open): the deployment.

    Django must be set up. The rows are those that the projection makes of the records, inserted many at a time. Who
    delivers further records of a long run makes the backend read its whole chain first, which takes some seconds.
    """
    from django.db import transaction

    from backend.deployments.models import Deployment, FederationId, State

    FederationId.objects.get_or_create(id=story.federation)
    deployment = Deployment.objects.create(
        federation=story.federation, name=story.federation, external=True, state=State.WAITING,
        cluster_id=CLUSTER, topic_id=story.topic_id,
    )  # fmt: skip
    told = ((*story.told(record), story.head) for record in story.whole(finished))
    while batch := list(islice(told, BATCH)):
        with transaction.atomic():
            _store(deployment, batch)
    return deployment


def _store(deployment: Deployment, batch: list[tuple[Record, Entry, Head]]) -> None:
    from backend.deployments.models import ControlRecord, Round, Version
    from backend.deployments.projection import projection
    from backend.deployments.projection.fold import changes_of

    place = {"cluster_id": deployment.cluster_id, "topic_id": deployment.topic_id, "partition": 0}
    found = [changes_of(entry, head) for _, entry, head in batch]
    ControlRecord.objects.bulk_create(
        ControlRecord(
            **place, topic=record.topic, offset=record.offset, timestamp_ms=record.timestamp_ms,
            federation=deployment.federation, value=record.value, kind=str(projection._kind(entry)),
        )
        for record, entry, _ in batch
    )  # fmt: skip
    versions = {row["number"]: row for changes in found if (row := changes.version) is not None}
    for changes in found:
        for number, measured in changes.evaluations.items():
            if number in versions:
                versions[number]["evaluation"] = measured
            else:
                deployment.versions.filter(number=number).update(evaluation=measured)
    Version.objects.bulk_create(Version(deployment=deployment, **row) for row in versions.values())
    committed = [changes for changes in found if changes.round is not None]
    rounds = Round.objects.bulk_create(Round(deployment=deployment, **(c.round or {})) for c in committed)
    _insert([{"round_id": r.pk, **row} for r, c in zip(rounds, committed, strict=True) for row in c.clients])
    for changes in found:
        if changes.round is None or changes is committed[-1]:  # what it changes besides rows is all overwritten
            left = dataclasses.replace(changes, version=None, round=None, clients=[], evaluations={})
            projection._write(deployment, left)
    deployment.folded = batch[-1][0].offset + 1
    deployment.save()


def _insert(rows: list[dict[str, Any]]) -> None:
    """Clients' updates by plain SQL, ten times as fast as by Django's own insert."""
    from django.db import connection

    from backend.deployments.models import ClientRound

    if rows:
        columns = ", ".join(f'"{name}"' for name in rows[0])
        marks = ", ".join(["%s"] * len(rows[0]))
        values = [[json.dumps(v) if isinstance(v, dict) else v for v in row.values()] for row in rows]
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {ClientRound._meta.db_table} ({columns}) VALUES ({marks})", values)


def main() -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description="Writes a long run into a platform's database.")
    parser.add_argument("federation")
    parser.add_argument("--home", required=True)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--mode", default="sync", choices=("sync", "buffered", "async"))
    parser.add_argument("--scale", type=float, default=18.0)
    parser.add_argument("--name", default="")
    parser.add_argument("--lost", type=int, default=0, help="clients that are left out")
    parser.add_argument("--open", action="store_true", help="leave its last round open")
    parser.add_argument("--own", action="store_true", help="sites have models of their own")
    asked = parser.parse_args()
    os.environ["MAINSTEM_HOME"] = asked.home
    os.environ.setdefault("MAINSTEM_SECRET_KEY", "only-for-tests")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
    import django

    django.setup()
    story = Story(
        asked.federation, asked.clients, asked.rounds, mode=asked.mode, scale=asked.scale, name=asked.name,
        lost=asked.lost, own=asked.own,
    )  # fmt: skip
    write(story, finished=not asked.open)


if __name__ == "__main__":
    main()
