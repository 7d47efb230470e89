"""`soundness`: read the whole database, and tell what is damaged."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from backend.project import database, soundness

TABLE_SECONDS = 60.0


class Command(BaseCommand):
    """For `mainstem doctor`."""

    help = "Look through every table; print {vendor, tables, faults} as JSON."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; raises CommandError where the database does not answer."""
        faults = []
        try:
            there = connection.introspection.table_names()
            for table in there:
                faults += [said] if (said := soundness.fault(connection, table, TABLE_SECONDS)) else []
        except Error as error:
            told = database.unavailable(error)
            if not database.damaged(error):
                raise CommandError(told or f"The database answers with an error: {error}") from error
            there, faults = [], [told]
        self.stdout.write(json.dumps({"vendor": connection.vendor, "tables": len(there), "faults": faults}))
