"""What a command does to a run: the lifecycle record that carries it out, or why it is rejected."""

from __future__ import annotations

import msgspec

from mainstem.chain import Head
from mainstem.messages import Changed, Command, Lifecycle, Resumed, RolledBack, Stopped

SHORTEST_DEADLINE_MS = 1_000

Answer = tuple[type[Lifecycle] | None, dict[str, object]]
"""The record's type and fields; or None and the `detail` of the rejection."""


def answer(head: Head, offset: int, command: Command) -> Answer:
    """The answer to the command at `offset` of the control topic."""
    match command.action:
        case "stop" if not head.ended:
            return Stopped, {"command": offset}
        case "stop":
            return _no(f"the run is {head.state} already")
        case "resume" if head.state in ("stopped", "failed"):
            return Resumed, {"command": offset}
        case "resume":
            return _no(f"the run is {head.state}; only a stopped or failed one can be resumed")
        case "deadline" | "remove" if head.ended:
            return _no(f"the run is {head.state}")
        case "deadline" if (command.deadline_ms or 0) < SHORTEST_DEADLINE_MS:
            return _no(f"deadline_ms must be at least {SHORTEST_DEADLINE_MS}")
        case "deadline":
            rules = msgspec.structs.replace(head.rules, deadline_ms=command.deadline_ms)
            return Changed, {"command": offset, "rules": rules}
        case "remove" if command.client is None:
            return _no("a removal names the client that is to go")
        case "remove":
            return Changed, {"command": offset, "rules": head.rules, "removed": command.client}
        case "rollback":
            return _rollback(head, offset, command.version)
        case _:
            return _no(f"the action {command.action[:40]!r} is not known")


def _rollback(head: Head, offset: int, version: int | None) -> Answer:
    if version is None:
        return _no("a rollback names the version to go back to")
    weights = head.model(version)
    if weights is None and version > head.version:
        return _no(f"there is no version {version}: the newest is {head.version}")
    if weights is None:
        known = ", ".join(map(str, sorted({base.version for base in head.lineage})[-20:]))
        return _no(f"the run does not descend from version {version} any more; it descends from {known}")
    if version == head.base.version:
        return _no(f"version {version} is the run's model already")
    # the snapshot is the head's: what came since is read again, and refused with a reason as its base is gone
    return RolledBack, {"command": offset, "version": version, "weights": weights, "snapshot": head.snapshot}


def _no(detail: str) -> Answer:
    return None, {"detail": detail}
