"""`claim`: what `mainstem up` does to a database before it works on it."""

from __future__ import annotations

import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from backend.accounts.management.commands.prepare import alone
from backend.launchers import lease
from backend.launchers.models import Lease
from backend.project.environment import secret, text
from backend.sites import own
from mainstem.errors import ConfigError

START_SECONDS = 120.0
"""Until the platform's launcher renews the lease."""
PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    """Prints `changed` where there was anything to do beside taking the lease."""

    help = (
        "Take the lease of the database for the platform whose random name is MAINSTEM_LEASE, migrate it, make the "
        "first logins (see bootstrap), and enrol the platform's own site (MAINSTEM_SITE_KEY_FILE)."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument("--pid", type=int, required=True, help="the process of the platform")
        parser.add_argument("--told", required=True, help="what it is, for people")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; raises CommandError with a sentence where another platform has the database."""
        holder = lease.Holder.of(options["told"], options["pid"], text(lease.OWNER))
        with alone():
            changed = False
            if Lease._meta.db_table in connection.introspection.table_names():
                self._claim(holder)  # before the tables are changed under whoever has them
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                call_command("migrate", interactive=False, verbosity=0)
                self._claim(holder)
                changed = True
            made = Lease.objects.get(name=lease.NAME).login
            if made != lease.login_of(secret("MAINSTEM_ADMIN_PASSWORD"), secret("MAINSTEM_TOKEN")):
                call_command("bootstrap", keep_password=not made, stdout=self.stderr)
                changed = True
            try:
                own.enrol_own()
            except ConfigError as error:
                raise CommandError(str(error)) from error
        if changed:
            self.stdout.write("changed")

    @staticmethod
    def _claim(holder: lease.Holder) -> None:
        """One elsewhere that is dead and one that lives are told apart by whether the lease is renewed."""
        first = other = lease.claim(holder, START_SECONDS)
        while other is not None:
            here = other.place == holder.place and other.start is not None
            if here or first is None or (other.owner, other.expires_at) != (first.owner, first.expires_at):
                raise CommandError(lease.refusal(other))
            time.sleep(PAUSE_SECONDS)
            other = lease.claim(holder, START_SECONDS)
