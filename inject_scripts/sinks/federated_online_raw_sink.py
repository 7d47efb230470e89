"""OnlineFederatedRawSink: a live stream of RAW training data with restrictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inject_scripts.announcement import Deployment
from inject_scripts.sinks.raw import RawFormat
from mainstem.protocol.topics import DATA_CONTROL


class OnlineFederatedRawSink(RawFormat):
    """A sink of live RAW data for federations; `online_close` ends it.

    `send_online_control_msg(data, label)` announces the stream, described by that sample.
    Arguments: see KafkaMLSink and RawFormat.
    """

    def __init__(
        self,
        boostrap_servers: str | Iterable[str],
        topic: str,
        deployment_id: Deployment,
        data_type: str | None = None,
        label_type: str | None = None,
        description: str = "",
        dataset_restrictions: Mapping[str, Any] | str = "{}",
        data_reshape: str | None = None,
        label_reshape: str | None = None,
        validation_rate: float = 0,
        control_topic: str = DATA_CONTROL,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        super().__init__(
            boostrap_servers, topic, deployment_id, "RAW", description, dataset_restrictions,
            validation_rate, 0, control_topic, group_id, unsupervised_topic,
        )  # fmt: skip
        self._configure(data_type, label_type, data_reshape, label_reshape)

    def send_online_control_msg(self, data: Any, label: Any) -> None:  # type: ignore[override]  # Kafka-ML's signature
        """Announce the live stream; shape and type come from this sample."""
        self._configure(None, None, None, None)
        self._describe(data, label)
        super().send_online_control_msg()
