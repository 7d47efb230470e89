"""What a program that ended said last: pure, over its output as launchers keep it."""

from __future__ import annotations

import json
import re

LONGEST = 500
"""Characters of a reason."""

TAIL = 16384
"""Bytes of an output's end in which the reason of a failure is sought."""

ASKED = "was asked to end (SIGTERM)"
"""Of a Job that left because somebody told it to: every launcher says it so, and counts it for nothing."""

_STARTED = "--- started"
_LOGGED = re.compile(r"(?:ERROR|CRITICAL) +[\w.-]+ (?:\[[^\]]*\] )?(.+)")
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning)(?:: .+)?")


def last_error(output: str) -> str:
    """The last error that the newest attempt told: a line of its log, without its time, or of a traceback; else its
    last line; empty where it said nothing. Lines that begin with `---` are its supervisor's."""
    newest = output[output.rfind(_STARTED) :] if _STARTED in output else output
    lines = [line for line in newest.splitlines() if line.strip() and not line.startswith("--- ")]
    told = next((said for line in reversed(lines) if (said := _error(line))), "")
    return (told or (lines[-1].strip() if lines else ""))[:LONGEST]


def _error(line: str) -> str:
    if line.startswith("{"):
        return _of_json(line)
    if found := _LOGGED.search(line):
        return found[1]
    return line if _RAISED.fullmatch(line) else ""


def _of_json(line: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(entry, dict) or entry.get("level") not in ("error", "critical"):
        return ""
    raised = str(entry.get("exception") or "").strip().splitlines()
    return raised[-1] if raised else str(entry.get("message", ""))
