"""`python -m data_control_logger`: every announcement of a data stream goes to the backend."""

from __future__ import annotations

import os
import sys

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group_source import GroupSource
from mainstem.protocol.topics import DATA_CONTROL, data_control_spec
from mainstem.relay.command import run_logger
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.variables import CLOUD, DATA


def data_source(settings: LoggerSettings, group: str) -> GroupSource:
    """The announcements at the data Kafka; their topic is created where it is missing."""
    return GroupSource(
        client_config(settings.bootstrap, settings.client_config),
        group=group,
        topics=[f"^{DATA_CONTROL}$"],
        create=data_control_spec(),
        committed=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the logger; the exit code."""
    return run_logger(
        "data_control_logger",
        description=f"Carries {DATA_CONTROL} into the backend.",
        path="/api/ingest/data/",
        settings=lambda: LoggerSettings.for_data(os.environ),
        source=data_source,
        variables=(*DATA, *CLOUD),
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
