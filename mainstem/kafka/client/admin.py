"""An admin client that is made anew when it keeps failing."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient

from mainstem.kafka.client.renewed import ReplacedClient


class Administrator(ReplacedClient[AdminClient]):
    """Lends an `AdminClient`."""

    def __init__(self, config: Mapping[str, str | int | float | bool]) -> None:
        super().__init__(lambda: AdminClient(dict(config)))
