"""OnlineRawSink: a live stream of RAW training data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inject_scripts.announcement import Deployment
from inject_scripts.sinks.raw import RawFormat
from mainstem.protocol.topics import DATA_CONTROL


class OnlineRawSink(RawFormat):
    """A sink of live RAW data without restrictions; `online_close` ends it.

    Without `data_type` the first `send` announces the stream, unless there is an unsupervised topic;
    otherwise the script calls `send_online_control_msg()` itself. Arguments: see KafkaMLSink and RawFormat.
    """

    def __init__(
        self,
        boostrap_servers: str | Iterable[str],
        topic: str,
        deployment_id: Deployment,
        data_type: str | None = None,
        label_type: str | None = None,
        description: str = "",
        data_reshape: str | None = None,
        label_reshape: str | None = None,
        validation_rate: float = 0,
        control_topic: str = DATA_CONTROL,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        super().__init__(
            boostrap_servers, topic, deployment_id, "RAW", description, {},
            validation_rate, 0, control_topic, group_id, unsupervised_topic,
        )  # fmt: skip
        self._configure(data_type, label_type, data_reshape, label_reshape)
        self._announce_first = data_type is None and self.unsupervised_topic is None

    def send(self, data: Any, label: Any) -> None:
        """Queue a sample, announcing the stream before the first."""
        if self._announce_first and not self.announced:
            self._describe(data, label)
            self.send_online_control_msg()
        super().send(data, label)
