"""The exit codes of every process of ours; docs/operations.md has the table."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """How a process ended; negative where a signal killed it."""

    ENDED = 0
    FAILED = 1
    UNUSABLE = 2
    UNFIT = 3
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Final[dict[Exit, str]] = {
    Exit.ENDED: "it did what it is for; a process that stays until it is told to end was told (SIGTERM, Ctrl-C)",
    Exit.FAILED: "it failed, and says why in a sentence; the next time it may be otherwise",
    Exit.UNUSABLE: "arguments or settings that cannot be used; a command's settings count as FAILED",
    Exit.UNFIT: "a Job cannot take part as things are; `mainstem doctor` found something missing",
    Exit.INTERRUPTED: "Ctrl-C ended a command before it was done, or a second Ctrl-C any process at once",
    Exit.TERMINATED: "SIGTERM ended a command before it was done; a Job was asked to end by either signal",
}


def table() -> str:
    """They as Markdown, for docs/operations.md."""
    rows = [f"| {code.value} | {code.name} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| exit code | name | what it means |", "| --- | --- | --- |", *rows]) + "\n"
