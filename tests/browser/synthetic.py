"""Runs of any size, told to the backend as a control logger tells them: only their records exist, no weights."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator

import msgspec

from mainstem.chain import Head
from mainstem.control import ControlReader, topics_of
from mainstem.messages import (
    Accepted,
    Closed,
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
    Strategy,
    encode,
)
from mainstem.rounds import successor
from mainstem.topics import control_topic
from tests.browser.platform import Platform
from tests.support.chains import opened, weights

STARTED_MS = 1_790_000_000_000
ROUND_MS = 10_000
BATCH = 100


class Tale:
    """A run that is only told. `tell` appends records to its topic and delivers them."""

    def __init__(self, platform: Platform, federation: str, clients: int, rounds: int) -> None:
        self.federation = federation
        self.clients = [f"hospital-{number:03d}" for number in range(clients)]
        self._platform, self._offset, self._ms = platform, 0, STARTED_MS
        self._reader = ControlReader(federation)
        rules = Rules(rounds=rounds, min_clients=clients)
        first = msgspec.structs.replace(
            opened(), federation=federation, topics=topics_of(federation), name=f"Told {federation}", rules=rules
        )
        self.tell([msgspec.structs.replace(first, weights=weights("f" * 64))])

    def tell(self, records: list[Opened | Round | Progress | Stopped]) -> None:
        """Deliver records as the control logger would."""
        entries = []
        for record in records:
            value = encode(record)
            self._ms += 1
            problem = self._reader.feed(self._offset, self._ms, value).problem
            assert problem is None, problem
            entries.append(
                {
                    "topic": control_topic(self.federation), "topic_id": f"told-{self.federation}", "partition": 0,
                    "offset": self._offset, "timestamp_ms": self._ms, "value_b64": base64.b64encode(value).decode(),
                }
            )  # fmt: skip
            self._offset += 1
        self._platform.deliver({"cluster_id": "told", "records": entries})

    def rounds(self, count: int) -> None:
        """So many more rounds, every client in each of them."""
        for _ in range(count):
            self._ms += ROUND_MS
            self.tell([self._round(self.head)])

    def progress(self, count: int) -> None:
        """So many more words about the open round: each has a client more that has uploaded, in turn."""
        made = self._progress(count)
        while batch := [record for _, record in zip(range(BATCH), made, strict=False)]:
            self.tell(list(batch))

    @property
    def head(self) -> Head:
        """The chain's head."""
        head = self._reader.chain.head
        assert head is not None
        return head

    def _round(self, head: Head) -> Round:
        number = head.round + 1
        record = successor(
            head,
            Round,
            {
                "round": number,
                "version": head.version + 1,
                "base": head.base,
                "strategy": Strategy(),
                "accepted": tuple(self._accepted(head, index) for index in range(len(self.clients))),
                "weights": weights(f"{number:064x}"),
                "snapshot": Snapshot(
                    position=number, time_ms=self._ms, members=tuple(self._member(i) for i in range(len(self.clients)))
                ),
                "closed": Closed(by="all", offset=number, time_ms=self._ms - 20),
                "opened_ms": self._ms - ROUND_MS,
                "writer": "told",
                "evaluation": self._metrics(number, 0),
            },
        )
        assert isinstance(record, Round)
        return record

    def _accepted(self, head: Head, index: int) -> Accepted:
        number = head.round + 1
        train = 4 + 3 * abs(math.sin(index * 1.7 + number))
        return Accepted(
            client=self.clients[index],
            offset=number * 1000 + index,
            sha256=f"{number * 1000 + index:064x}",
            record="0" * 64,
            nbytes=814_120,
            base=head.base,
            number=0,
            examples=400 + 7 * index,
            coefficient=400.0 + 7 * index,
            received_ms=self._ms - ROUND_MS + round(train * 1000) + 300,
            report=Report(training=self._metrics(number, index), train_seconds=train, upload_seconds=0.2),
        )

    def _metrics(self, number: int, index: int) -> Metrics:
        loss = 2.3 * math.exp(-number / 18) + 0.05 * math.sin(index * 2.3 + number * 0.9) + 0.1
        return Metrics(examples=400, values={"loss": loss, "accuracy": 1 - loss / 3})

    def _member(self, index: int) -> Member:
        return Member(client=self.clients[index], incarnation="1", joined=index, examples=400, last_ms=self._ms)

    def _progress(self, count: int) -> Iterator[Progress]:
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
