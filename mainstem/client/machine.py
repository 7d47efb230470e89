"""The client's state machine: what a training Job does next. No I/O.

Followed(head) -> Join at first; then Train, Evaluate, or Leave, by what the head asks for
Trained        -> Upload where the update still counts, else on to the new head
Uploaded       -> wait for the next head
Evaluated      -> Leave
"""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.errors import ProtocolError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Base, Update, Weights
from mainstem.rounds import modes, owed


# ---------------------------------------------------------------- events
@dataclass(frozen=True, slots=True)
class HeadFollowed:
    """The chain has a new head."""

    head: Head


@dataclass(frozen=True, slots=True)
class Trained:
    """Training from `base` is done."""

    base: Base


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The update from `base` is in the log."""

    base: Base


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The final model was evaluated."""

    version: int


Event = HeadFollowed | Trained | Uploaded | Evaluated


# ---------------------------------------------------------------- effects
@dataclass(frozen=True, slots=True)
class Join:
    """Say that this client is there."""


@dataclass(frozen=True, slots=True)
class Train:
    """Train from this model, then answer with `Trained`."""

    base: Base
    weights: Weights


@dataclass(frozen=True, slots=True)
class UpdateUpload:
    """Publish what was trained from `base`, as its update `number`, then answer with `Uploaded`."""

    base: Base
    number: int


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Evaluate the final model, then answer with `Evaluated`."""

    version: int
    weights: Weights


@dataclass(frozen=True, slots=True)
class Leave:
    """Say that this client leaves (with its evaluation of `version`, if any), then exit with 0."""

    version: int | None
    why: str


Effect = Join | Train | UpdateUpload | Evaluate | Leave


def superseded(head: Head, client: str, incarnation: str) -> str | None:
    """Why an incarnation no longer counts, as the head's snapshot tells: another process has taken over, or an operator
    has removed it. None while it counts."""
    member = next((member for member in head.snapshot.members if member.client == client), None)
    if member is None or incarnation not in (member.incarnation, *member.superseded):
        return None
    if member.status == "removed":
        return f"{client} was removed from the run by an operator: start it anew where it is to take part again"
    if incarnation == member.incarnation:
        return None
    return (
        f"FEDERATED_CLIENT_ID: another process has joined as {client} and taken over (offset {member.joined} of "
        f"{head.opened.topics.aggregator}): give each data set a client id of its own"
    )


class ClientMachine:
    """The client of that id in one federation. An event that the state does not allow changes nothing."""

    def __init__(self, client: str) -> None:
        self._client = client
        self.head: Head | None = None
        self.phase = "waiting"
        self._base: Base | None = None

    def handle(self, event: Event) -> list[Effect]:
        """The effects of one event; raises ProtocolError where it is not allowed now."""
        match event:
            case HeadFollowed():
                return self._follow(event.head)
            case Trained() if self.phase == "training" and event.base == self._base:
                return self._trained()
            case Uploaded() if self.phase == "uploading" and event.base == self._base:
                self.phase = "waiting"
                return self._goal()
            case Evaluated() if self.phase == "evaluating":
                return self._evaluated(event.version)
            case _:
                raise ProtocolError(f"{type(event).__name__} is not allowed while {self.phase}")

    def _follow(self, head: Head) -> list[Effect]:
        if self.head is not None and head.link.record.seq <= self.head.link.record.seq:
            raise ProtocolError("a head can only be followed by a later one")
        first, self.head = self.head is None, head
        joins: list[Effect] = [Join()] if first and not head.ended else []
        return joins + (self._goal() if self.phase == "waiting" else [])

    def _goal(self) -> list[Effect]:
        """What the head asks of a client that has nothing in hand."""
        head = self.head
        assert head is not None
        if head.state in ("stopped", "failed"):
            return self._leave(None, f"the run is {head.state}")
        if head.state == "finished" or head.final:
            self.phase = "evaluating"
            return [Evaluate(head.base.version, head.weights)]
        if head.base != self._base and self._asked(head):
            self._base, self.phase = head.base, "training"
            return [Train(head.base, head.weights)]
        return []

    def _asked(self, head: Head) -> bool:
        return owed(head, self._client) is Update

    def _trained(self) -> list[Effect]:
        head, base = self.head, self._base
        assert head is not None and base is not None
        try:
            if head.ended or head.final:
                raise RefusedError("closed", "no round is open")
            modes.make(head.rules).admit(head, base)
        except RefusedError:
            self.phase = "waiting"
            return self._goal()
        self.phase = "uploading"
        return [UpdateUpload(base, 0)]

    def _evaluated(self, version: int) -> list[Effect]:
        head = self.head
        assert head is not None
        if head.base.version == version and (head.state == "finished" or head.final):
            return self._leave(version, "the run is finished")
        self.phase = "waiting"  # a rollback has opened the run again
        return self._goal()

    def _leave(self, version: int | None, why: str) -> list[Effect]:
        self.phase = "gone"
        return [Leave(version, why)]
