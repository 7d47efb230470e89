"""`rebuild`: the tables of runs and streams from Kafka, for instance into an empty database."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backend.deployments.log import kafka
from backend.ingest.rebuild import rebuild
from mainstem.errors import MainstemError


class Command(BaseCommand):
    """May be repeated, also while the platform runs: a record counts once."""

    help = "Read every federation's control topic, the announcements and the streams again from their beginning."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and print what was done as JSON; raises CommandError."""
        if not settings.KAFKA_BOOTSTRAP:
            raise CommandError("say where Kafka is: KML_CLOUD_BOOTSTRAP_SERVERS")
        try:
            done = rebuild(kafka.cloud_config(), kafka.data_config(), self.stderr.write)
        except MainstemError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(asdict(done)))
