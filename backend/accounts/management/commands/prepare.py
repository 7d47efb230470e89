"""`prepare`: what must be done before a backend's process starts on a shared database, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from backend.project import database

PAUSE_SECONDS = 1.0
LOCK_KEY = 0x6D61696E  # PostgreSQL's advisory locks are numbers: this one is ours


class Command(BaseCommand):
    """Several may start at once: the others wait, and find nothing left to do."""

    help = "Migrate the database and make the first logins (see bootstrap), one process at a time."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument("--wait", action="store_true", help="change nothing: wait until another has prepared it")
        parser.add_argument("--seconds", type=float, default=300.0, help="longest wait for the database (%(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; raises CommandError where the database does not answer in time."""
        deadline = time.monotonic() + options["seconds"]
        while (state := self._state()) is not True:
            if state is False and not options["wait"]:
                break
            if time.monotonic() > deadline:
                raise CommandError(f"gave up after {options['seconds']:g} s: {state or 'the database is not migrated'}")
            connection.close()
            time.sleep(PAUSE_SECONDS)
        if options["wait"]:
            return
        with alone():
            call_command("migrate", interactive=False, verbosity=1, stdout=self.stdout)
            call_command("bootstrap", keep_password=True, stdout=self.stdout)

    @staticmethod
    def _state() -> bool | str:
        """True where the database is migrated, False where it is not, else why it does not answer."""
        try:
            executor = MigrationExecutor(connection)
            return not executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as error:
            return f"{database.unavailable(error) or 'The database answers with an error.'} ({str(error).strip()})"


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the database: PostgreSQL's own, or beside an SQLite file one in MAINSTEM_HOME."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])
        return
    with (settings.HOME / "prepare.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
