"""A story told to the backend as a control logger tells it, over its API, record by record."""

from __future__ import annotations

import base64
from itertools import islice

from mainstem.chain import Head
from mainstem.messages import ControlRecord
from tests.browser.platform import Platform
from tests.support.long_runs import BATCH, CLUSTER, Story


class Tale:
    """A run that is only told. `tell` appends records to its topic and delivers them."""

    def __init__(self, platform: Platform, federation: str, clients: int, rounds: int) -> None:
        self.federation = federation
        self.story = Story(federation, clients, rounds)
        self._platform = platform
        self.tell([self.story.opening()])

    def tell(self, records: list[ControlRecord]) -> None:
        """Deliver records as the control logger would."""
        entries = []
        for stored, _ in map(self.story.told, records):
            assert stored.value is not None
            entries.append(
                {
                    "topic": stored.topic, "topic_id": self.story.topic_id, "partition": 0, "offset": stored.offset,
                    "timestamp_ms": stored.timestamp_ms, "value_b64": base64.b64encode(stored.value).decode(),
                }
            )  # fmt: skip
        self._platform.deliver({"cluster_id": CLUSTER, "records": entries})

    def rounds(self, count: int) -> None:
        """So many more rounds, every client in each of them."""
        for _ in range(count):
            self.tell([self.story.round()])

    def progress(self, count: int) -> None:
        """So many more words about the open round: each has a client more that has uploaded, in turn."""
        made = self.story.progress(count)
        while batch := list(islice(made, BATCH)):
            self.tell(list(batch))

    @property
    def head(self) -> Head:
        """The chain's head."""
        return self.story.head
