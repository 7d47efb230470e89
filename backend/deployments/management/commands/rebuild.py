"""`rebuild`: the tables of runs and streams from Kafka, for instance into an empty database."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backend.deployments.rebuild import rebuild
from mainstem.errors import MainstemError
from mainstem.kafka.config import client_config


class Command(BaseCommand):
    """May be repeated, also while the platform runs: a record counts once."""

    help = "Read every federation's control topic, the announcements and the streams again from their beginning."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and print what was done as JSON; raises CommandError."""
        cloud = settings.KAFKA_BOOTSTRAP
        if not cloud:
            raise CommandError("say where Kafka is: KML_CLOUD_BOOTSTRAP_SERVERS")
        data = os.environ.get("DATA_BOOTSTRAP_SERVERS", "").strip() or cloud
        same = settings.KAFKA_CLIENT_CONFIG if data == cloud else ""
        try:
            done = rebuild(
                client_config(cloud, settings.KAFKA_CLIENT_CONFIG or None),
                client_config(data, os.environ.get("DATA_CLIENT_CONFIG") or same or None),
                self.stderr.write,
            )
        except MainstemError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(asdict(done)))
