"""Logging: fields, formats, files."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainstem.runtime import logs

log = logging.getLogger("somewhere")


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging as it was, whatever a test configures."""
    for name in ("MAINSTEM_HOME", "MAINSTEM_LOG_FORMAT", "MAINSTEM_LOG_LEVEL", "MAINSTEM_LOG_STREAM"):
        monkeypatch.delenv(name, raising=False)
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)


def test_bound_fields_are_in_every_line_until_the_block_ends() -> None:
    """Inside `bind` lines carry the fields, nested blocks add theirs, and afterwards they are gone."""
    out = io.StringIO()
    logs.configure("trainer", stream=out)
    with logs.bind(federation="abcd1234"):
        with logs.bind(round=2, client="site-1"):
            log.info("inner")
        log.info("outer")
    log.info("outside")
    inner, outer, outside = out.getvalue().splitlines()
    assert inner.endswith("trainer [federation=abcd1234 round=2 client=site-1] inner")
    assert outer.endswith("trainer [federation=abcd1234] outer")
    assert outside.endswith("trainer outside")
    assert "\x1b" not in inner


def test_json_lines_have_all_fields_and_the_exception() -> None:
    """MAINSTEM_LOG_FORMAT=json gives one object a line, with null for what is not known."""
    out = io.StringIO()
    logs.configure("web", as_json=True, stream=out)
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        log.exception("failed %s", "twice", extra={"round": 7})
    entry = json.loads(out.getvalue())
    assert (entry["component"], entry["level"], entry["message"]) == ("web", "error", "failed twice")
    assert (entry["federation"], entry["round"], entry["client"]) == (None, "7", None)
    assert "ValueError: bad" in entry["exception"]


def test_files_carry_every_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a home each component has its file, whose lines always name federation, round and client."""
    monkeypatch.setenv("MAINSTEM_HOME", str(tmp_path))
    monkeypatch.setenv("MAINSTEM_LOG_STREAM", "off")
    out = io.StringIO()
    logs.configure("aggregator", stream=out)
    with logs.bind(federation="abcd1234"):
        log.warning("one")
    assert out.getvalue() == ""
    text = (tmp_path / "logs" / "aggregator.log").read_text()
    assert "WARNING  aggregator [federation=abcd1234 round=- client=-] one" in text


def test_a_message_cannot_forge_a_line() -> None:
    """A line break inside a message is indented, so it is not taken for a record."""
    out = io.StringIO()
    logs.configure("x", stream=out)
    log.info("hello\n2026-01-01 00:00:00.000 CRITICAL x stolen")
    assert out.getvalue().splitlines()[1].startswith("    2026")


def test_unknown_fields_are_an_error() -> None:
    """A misspelt field is a programming error, said at once."""
    with pytest.raises(TypeError, match="federation, round, client"):
        logs.bind(fed="x")
