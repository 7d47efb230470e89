"""Logging for every process: coloured on a terminal, JSON on request, and in rotated files.

    configure("aggregator")                      # once, first thing in a process
    with bind(federation="ddy6heod", round=3):   # every line inside carries both, also those of libraries
        log.info("round closed")

Fields live in a context variable, so threads and tasks that copy the context carry them, others have their own.
"""

from __future__ import annotations

import contextvars
import json
import logging
import logging.handlers
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from mainstem.runtime.environ import given_home

FIELDS = ("federation", "round", "client")
FILE_BYTES, FILE_COUNT = 10 << 20, 5
QUIET = ("absl", "asyncio", "h5py", "kubernetes", "tensorflow", "urllib3")
"""Libraries whose chatter below a warning helps nobody."""

_context: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("mainstem_log_fields", default={})  # noqa: B039

_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class bind:
    """Put federation, round and client into every log line from here on; as a context manager, until its end.

    A field that is not named keeps what it had; `None` clears it.
    """

    def __init__(self, **fields: str | int | None) -> None:
        unknown = set(fields) - set(FIELDS)
        if unknown:
            raise TypeError(f"log fields are {', '.join(FIELDS)}, not {', '.join(sorted(unknown))}")
        merged = _context.get() | {name: str(value) for name, value in fields.items() if value is not None}
        for name, value in fields.items():
            if value is None:
                merged.pop(name, None)
        self._token = _context.set(merged)

    def __enter__(self) -> None:
        """Nothing to do: the fields are in force since the call."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _context.reset(self._token)


def bound() -> dict[str, str]:
    """The fields in force here."""
    return dict(_context.get())


def configure(
    component: str,
    *,
    as_json: bool | None = None,
    level: str | None = None,
    home: str | Path | None = None,
    stream: TextIO | None = None,
    screen: bool | None = None,
) -> None:
    """Set up this process's logging; a second call replaces the first.

    `as_json` defaults to MAINSTEM_LOG_FORMAT being `json`, `level` to MAINSTEM_LOG_LEVEL or INFO, `home` to
    MAINSTEM_HOME: when there is one, `<home>/logs/<component>.log` is written too, rotated at 10 MB, 5 kept.
    `screen` False leaves lines to that file alone; it defaults to MAINSTEM_LOG_STREAM not being `off`, which the
    platform sets for its children.
    """
    if as_json is None:
        as_json = os.environ.get("MAINSTEM_LOG_FORMAT", "text").strip().lower() == "json"
    home = home or given_home(os.environ)
    stream = stream or sys.stderr
    handlers: list[logging.Handler] = []
    if home:
        directory = Path(home) / "logs"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = logging.handlers.RotatingFileHandler(
            directory / f"{component}.log", maxBytes=FILE_BYTES, backupCount=FILE_COUNT, encoding="utf-8", delay=True
        )
        file.setFormatter(JsonFormatter(component) if as_json else TextFormatter(component, every_field=True))
        handlers.append(file)
    if screen is None:
        screen = os.environ.get("MAINSTEM_LOG_STREAM", "on").strip().lower() != "off"
    if screen or not home:
        console = logging.StreamHandler(stream)
        colour = stream.isatty() and "NO_COLOR" not in os.environ
        console.setFormatter(JsonFormatter(component) if as_json else TextFormatter(component, colour=colour))
        handlers.append(console)

    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.addFilter(_add_fields)
        root.addHandler(handler)
    root.setLevel((level or os.environ.get("MAINSTEM_LOG_LEVEL") or "INFO").upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def on_screen() -> bool:
    """Whether this process's lines go to more than its file."""
    return any(not isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)


def _add_fields(record: logging.LogRecord) -> bool:
    """Fields given by `extra=` win over the bound ones."""
    for name, value in _context.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def _log_uncaught(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, tb)
        return
    logging.getLogger("mainstem").critical("died of an unexpected error", exc_info=(kind, error, tb))


def _field(record: logging.LogRecord, name: str) -> str | None:
    value = getattr(record, name, None)
    return None if value is None else str(value)


class TextFormatter(logging.Formatter):
    """One line a record: time (local, to the ms), level, component, fields, message; a traceback below it."""

    def __init__(self, component: str, *, colour: bool = False, every_field: bool = False) -> None:
        super().__init__()
        self.component, self.colour, self.every_field = component, colour, every_field

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<8}"
        if self.colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        fields = [(name, _field(record, name)) for name in FIELDS]
        shown = " ".join(f"{name}={value or '-'}" for name, value in fields if value or self.every_field)
        # a line break in a message (it may quote a peer) must not look like a record of its own
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\n    ")
        line = f"{clock}.{int(record.msecs):03d} {level} {self.component}{f' [{shown}]' if shown else ''} {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, RFC 3339), level, component, logger, message, the fields, exception."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, str | None] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "component": self.component,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: _field(record, name) for name in FIELDS}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
