"""`python -m control_logger`: every record of the control topics goes to the backend, once the log has it."""

from __future__ import annotations

import os
import sys

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group_source import GroupSource
from mainstem.protocol.topics import CONTROL_PATTERN, MODEL_CONTROL
from mainstem.relay.command import run_logger
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.variables import CLOUD


def control_source(settings: LoggerSettings, group: str) -> GroupSource:
    """The announcements and every federation's control topic, those of later federations included."""
    return GroupSource(
        client_config(settings.bootstrap, settings.client_config),
        group=group,
        topics=[f"^{MODEL_CONTROL}$", CONTROL_PATTERN],
        announced_by=MODEL_CONTROL,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the logger; the exit code."""
    return run_logger(
        "control_logger",
        description=f"Carries {MODEL_CONTROL} and every federation's control topic into the backend.",
        path="/api/ingest/control/",
        settings=lambda: LoggerSettings.for_cloud(os.environ),
        source=control_source,
        variables=CLOUD,
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
