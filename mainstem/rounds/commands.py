"""What a command does to a run: the lifecycle record that carries it out, or why it is rejected."""

from __future__ import annotations

import msgspec

from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Changed, Command, Lifecycle, Resumed, RolledBack, Stopped
from mainstem.rounds import admission

SHORTEST_DEADLINE_MS = 1_000

Answer = tuple[type[Lifecycle] | None, dict[str, object]]
"""The record's type and fields; or None and the `detail` of the rejection."""


class Commands:
    """The commands of the control topic that have no answer yet, by offset.

    One that was rejected, by this worker or another, is never answered again, in whatever order it is told of.
    """

    def __init__(self) -> None:
        self._open: dict[int, Command] = {}
        self._rejected: set[int] = set()
        self._answered = -1

    def __bool__(self) -> bool:
        return bool(self._open)

    def put(self, offset: int, command: Command) -> None:
        """The command that stands at `offset`."""
        if offset > self._answered and offset not in self._rejected:
            self._open[offset] = command

    def reject(self, offset: int) -> None:
        """That one is rejected."""
        self._open.pop(offset, None)
        self._rejected.add(offset)

    def follow(self, head: Head) -> None:
        """All up to the newest that the head has carried out are answered."""
        self._answered = head.command
        self._open = {offset: command for offset, command in self._open.items() if offset > head.command}
        self._rejected = {offset for offset in self._rejected if offset > head.command}

    def answer(self, head: Head) -> tuple[int, Answer]:
        """The oldest one's offset and answer."""
        offset = min(self._open)
        return offset, answer(head, offset, self._open[offset])


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
        case "deadline" | "remove" | "admission" if head.ended:
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
        case "admission" if command.admission is None:
            return _no("an admission says which sites' clients may take part")
        case "admission":
            rules = msgspec.structs.replace(head.rules, admission=command.admission)
            problem = admission.problem_of(rules.admission)
            return _no(problem) if problem else (Changed, {"command": offset, "rules": rules})
        case "rollback":
            return _rollback(head, offset, command.version)
        case _:
            return _no(f"the action {command.action[:40]!r} is not known")


def _rollback(head: Head, offset: int, version: int | None) -> Answer:
    if version is None:
        return _no("a rollback names the version to go back to")
    place = head.place(version)
    if place is None and version > head.version:
        return _no(f"there is no version {version}: the newest is {head.version}")
    if place is None:
        known = ", ".join(map(str, sorted({base.version for base in head.lineage})[-20:]))
        return _no(f"the run does not descend from version {version} any more; it descends from {known}")
    if version == head.base.version:
        return _no(f"version {version} is the run's model already")
    # the snapshot is the head's: what came since is read again, and refused with a reason as its base is gone
    fields = {"command": offset, "version": version, "weights": head.models[place], "state": head.states[place]}
    return RolledBack, {**fields, "snapshot": head.snapshot}


def _no(detail: str) -> Answer:
    return None, {"detail": detail}
