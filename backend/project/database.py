"""What a database's error says, in words for people: SQLite's names and PostgreSQL's codes, once."""

from __future__ import annotations

import re
from typing import Final

from django.db import DatabaseError, Error, IntegrityError, InterfaceError, OperationalError

_SILENT: Final = "The database does not answer now; try again."
_BUSY: Final = "Others write to the same place of the database now; try again."
_FULL: Final = "The disk of the database is full: it takes nothing more until there is room."
_READ_ONLY: Final = "The database can only be read now, not written to: its administrator knows why."

DAMAGED: Final = "The database's file is damaged: restore it from a backup."

_BARRED: Final = "The database does not know the user, the password or the database that DATABASE_URL names."
_CROWDED: Final = "The database has no connection left; try again, or raise its max_connections."

_SENTENCES: Final = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_CANTOPEN": "The database's file cannot be opened: is its folder there, and may it be written to?",
    "SQLITE_IOERR": "The database's file cannot be read or written: its disk reports an error.",
    "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_NOTADB": "The database's file is no SQLite database: restore it from a backup.",
    "08": _SILENT,
    "25006": _READ_ONLY,
    "28": _BARRED,
    "40": _BUSY,
    "53100": _FULL,
    "53300": _CROWDED,
    "55P03": _BUSY,
    "57014": "The database took too long over this and gave up; try again.",
    "57P": _SILENT,
    "XX001": "The database reports damaged data: restore it from a backup.",
    "XX002": "The database reports a damaged index: its administrator can make it anew (REINDEX).",
    "58": "The database's machine reports an error of its disk or its system.",
}
"""By the beginning of SQLite's name or of PostgreSQL's SQLSTATE of an error that passes or that an operator mends."""

_COLUMN: Final = re.compile(r"(\w+)\"?\)=")
"""In PostgreSQL's detail, whatever its language: `Key (name)=(digits) already exists.`"""


def unavailable(error: BaseException) -> str:
    """Why the database cannot do its work now; empty where the error is not of that kind, but a fault of ours."""
    if not isinstance(error, Error):
        return ""
    code = _code(error)
    if not code:  # PostgreSQL's client lost, or never had, a connection, for which it has no code; Django closed one
        return _at_the_door(str(error)) if isinstance(error, OperationalError | InterfaceError) else ""
    return next((sentence for start, sentence in _SENTENCES.items() if code.startswith(start)), "")


def _at_the_door(said: str) -> str:
    """Why there is no connection; with `FATAL` it is the server that does not want one."""
    if "FATAL" not in said or any(word in said for word in ("starting up", "shutting down", "recovery", "terminating")):
        return _SILENT
    return _CROWDED if "too many" in said or "remaining connection slots" in said else _BARRED


def damaged(error: BaseException) -> bool:
    """Whether what is stored cannot be read any more."""
    return _code(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"))


def overdue(error: BaseException) -> bool:
    """Whether a statement had a time limit and met it."""
    return _code(error) in ("SQLITE_INTERRUPT", "57014")


def unmigrated(error: DatabaseError) -> bool:
    """Whether a table or column is not there."""
    return _code(error) in ("42P01", "42703") or "no such table" in str(error) or "no such column" in str(error)


def field_in_use(error: IntegrityError) -> str:
    """The column whose value another row has already; empty where the database refused for another reason."""
    if _code(error) in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
        return str(error).rpartition(".")[2]  # UNIQUE constraint failed: catalog_model.name
    if _code(error) != "23505":
        return ""
    found = _COLUMN.search(str(getattr(getattr(error.__cause__, "diag", None), "message_detail", "")))
    return found[1] if found else "value"


def gone(error: IntegrityError) -> bool:
    """Whether a row that another one names is not there."""
    return _code(error) in ("SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_TRIGGER", "23503")


def _code(error: BaseException) -> str:
    cause = error.__cause__
    return str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
