"""FederatedRawSink: RAW training data with restrictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inject_scripts.announcement import Deployment
from inject_scripts.sinks.raw import RawFormat
from mainstem.protocol.topics import DATA_CONTROL


class FederatedRawSink(RawFormat):
    """A sink of RAW data for federations; `close` announces it. Arguments: see KafkaMLSink and RawFormat."""

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
        test_rate: float = 0,
        control_topic: str = DATA_CONTROL,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        super().__init__(
            boostrap_servers, topic, deployment_id, "RAW", description, dataset_restrictions,
            validation_rate, test_rate, control_topic, group_id, unsupervised_topic,
        )  # fmt: skip
        self._configure(data_type, label_type, data_reshape, label_reshape)
