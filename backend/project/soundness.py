"""Whether the database's tables can be read: a damaged one is found before somebody needs what it holds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from backend.project import database

RUN_EVERY_SECONDS: Final = 5.0
TABLE_EVERY_SECONDS: Final = 60.0
BUDGET_SECONDS: Final = 0.25


def tables() -> list[str]:
    """All that the backend has."""
    models = apps.get_models(include_auto_created=True)
    return sorted({model._meta.db_table for model in models if model._meta.managed} | {"django_migrations"})


def fault(connection: BaseDatabaseWrapper, table: str, seconds: float) -> str:
    """What is wrong with the table, for people; empty where it could be read, or not read to its end in that time.

    SQLite looks at the structure of the table and its indexes, PostgreSQL at every row. Raises Error for what is no
    damage.
    """
    name = connection.ops.quote_name(table)
    try:
        if connection.vendor == "sqlite":
            with _at_most(connection, seconds), connection.cursor() as cursor:
                cursor.execute(f"PRAGMA quick_check({name})")
                said = str(cursor.fetchone()[0])
            return "" if said == "ok" else f"{database.DAMAGED} ({table}: {' '.join(said.split())})"
        with connection.cursor() as cursor, _limited(cursor, seconds):
            cursor.execute(f"SELECT sum(length(found::text)) FROM {name} AS found")  # noqa: S608 (a table of ours)
    except Error as error:
        if database.overdue(error):
            return ""
        if database.damaged(error):
            return f"{database.unavailable(error)} ({table}: {' '.join(str(error).split())})"
        raise
    return ""


@contextlib.contextmanager
def _at_most(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """SQLite interrupts itself after that time."""
    connection.ensure_connection()
    until = time.monotonic() + seconds
    connection.connection.set_progress_handler(lambda: time.monotonic() > until, 1000)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(None, 0)


@contextlib.contextmanager
def _limited(cursor: Any, seconds: float) -> Iterator[None]:
    """PostgreSQL ends a statement after that time."""
    cursor.execute(f"SET statement_timeout = {max(1, int(seconds * 1000))}")
    try:
        yield
    finally:
        with contextlib.suppress(Error):
            cursor.execute("RESET statement_timeout")


class TableWatch:
    """Looks at one table after another whenever it is asked, for a moment, and remembers what is damaged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked: dict[str, float] = {}
        self._faults: dict[str, str] = {}
        self._ran = 0.0

    def faults(self, connection: BaseDatabaseWrapper) -> list[str]:
        """What is damaged as far as it is known. A damaged table is looked at again each time, others in a minute.

        Raises Error where the database does not answer.
        """
        if self._lock.acquire(blocking=False):
            try:
                if not self._ran or time.monotonic() > self._ran + RUN_EVERY_SECONDS:
                    self._run(connection)
                    self._ran = time.monotonic()
            finally:
                self._lock.release()
        return list(self._faults.values())

    def _run(self, connection: BaseDatabaseWrapper) -> None:
        now, until = time.monotonic(), time.monotonic() + BUDGET_SECONDS
        due = [
            table for table in tables() if self._looked.get(table, -TABLE_EVERY_SECONDS) + TABLE_EVERY_SECONDS <= now
        ]
        for table in [*self._faults, *sorted(due, key=lambda table: self._looked.get(table, 0.0))]:
            if (left := until - time.monotonic()) <= 0:
                return
            said = fault(connection, table, left)
            self._looked[table] = now
            self._faults.pop(table, None)
            if said:
                self._faults[table] = said
