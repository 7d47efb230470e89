"""What a control logger carries at a time: records, and the ids that tell them from all others."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mainstem.protocol.log import Record
from mainstem.protocol.signing import HEADER


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of their partitions, with the ids that make them unique for ever."""

    cluster_id: str
    topic_ids: Mapping[str, str]
    records: Sequence[Record]

    def body(self) -> dict[str, Any]:
        """The JSON object that the backend's ingest endpoints take."""
        return {"cluster_id": self.cluster_id, "records": [self._entry(record) for record in self.records]}

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half, in order."""
        middle = len(self.records) // 2
        return (
            Batch(self.cluster_id, self.topic_ids, self.records[:middle]),
            Batch(self.cluster_id, self.topic_ids, self.records[middle:]),
        )

    def _entry(self, record: Record) -> dict[str, Any]:
        return {
            "topic": record.topic,
            "topic_id": self.topic_ids[record.topic],
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key_b64": _b64(record.key),
            "value_b64": _b64(record.value),
            "signature_b64": _b64(record.headers.get(HEADER)),
        }


def _b64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")
