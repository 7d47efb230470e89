"""Who takes part in a federation, as the aggregator topic tells it."""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from mainstem.errors import RefusedError
from mainstem.messages import Base, ClientFailed, Heartbeat, Joined, Left, Member, Reason, Update

REMEMBERED = 8
"""Superseded incarnations of a client that its member's record names."""


class Roster:
    """The members by client id, and the ones whose answer the open round waits for.

    Who is active and who is awaited are kept as sets: a round of N clients costs O(N), not O(N) at every record.
    """

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._members = {member.client: member for member in members}
        self._active = {client for client, member in self._members.items() if member.status == "active"}
        self._base: Base | None = None
        self.expected: frozenset[str] = frozenset()
        self.awaited: set[str] = set()

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them, by client id."""
        return tuple(self._members[client] for client in sorted(self._members))

    @property
    def active(self) -> Set[str]:
        """The clients that have neither left nor failed."""
        return self._active

    def get(self, client: str) -> Member | None:
        """The client's place in the list, None where it never joined."""
        return self._members.get(client)

    def speaks(self, client: str, incarnation: str) -> bool:
        """Whether this incarnation is the one that joined last."""
        member = self._members.get(client)
        return member is not None and member.incarnation == incarnation

    def listen(self, client: str, incarnation: str) -> None:
        """Raises RefusedError unless this incarnation speaks for the client."""
        member = self._members.get(client)
        if member is None:
            raise RefusedError(Reason.UNKNOWN_CLIENT, "it has not joined")
        if incarnation in member.superseded:
            raise RefusedError(
                Reason.SUPERSEDED,
                f"another process has taken over the client id at offset {member.joined} (incarnation "
                f"{member.incarnation[:40]!r}), so incarnation {incarnation[:40]!r} does not count any more: "
                "two data sets need two client ids",
            )
        if incarnation != member.incarnation:
            raise RefusedError(Reason.UNKNOWN_CLIENT, f"its incarnation {incarnation[:40]!r} has not joined")

    def miss(self, clients: Iterable[str], seconds: float) -> None:
        """These were asked and did not answer in so many seconds: they are at least so slow."""
        for client in clients:
            member = self._members.get(client)
            if member is not None and member.seconds < seconds:
                self._members[client] = msgspec.structs.replace(member, seconds=seconds)

    def expect(self, base: Base, clients: Iterable[str] | None = None) -> None:
        """The round from `base` that opens now waits for these; for all who are active where it is not said."""
        self._base = base
        self.expected = frozenset(self._active if clients is None else clients)
        self.awaited = {client for client in self.expected if self._owes(client)}

    def _owes(self, client: str) -> bool:
        """Whether something may still come from the client for the round's model: not where its update counts
        already, or it is gone."""
        member = self._members.get(client)
        return member is None or (member.status == "active" and (not self._base or member.counted != self._base.seq))

    def _put(self, member: Member) -> None:
        client = member.client
        self._members[client] = member
        (self._active.add if member.status == "active" else self._active.discard)(client)
        if client in self.expected:
            (self.awaited.add if self._owes(client) else self.awaited.discard)(client)

    def has_counted(self, client: str, base: Base) -> bool:
        """Whether an update of the client from `base`, or from a later model, counts already."""
        counted = self._members[client].counted
        return counted is not None and counted >= base.seq

    def measure(self, update: Update) -> None:
        """Raises RefusedError where the update says other examples than its client did."""
        member = self._members[update.client]
        if update.examples == member.examples or (member.growing and update.examples > member.examples):
            return
        way_out = "its stream grows, never shrinks" if member.growing else "say `joined` again where its data changed"
        raise RefusedError(
            Reason.EXAMPLES, f"it claims {update.examples} examples, its client said {member.examples}: {way_out}"
        )

    def count(self, update: Update) -> None:
        """The client's update counts from now on."""
        member = self._members[update.client]
        seconds = update.report.train_seconds if update.report.train_seconds > 0 else member.seconds
        counted = {"counted": update.base.seq, "seconds": seconds, "examples": update.examples}
        self._put(msgspec.structs.replace(member, **counted))

    def join(self, record: Joined, offset: int, time_ms: int) -> None:
        """A client joins, or comes back: then it is awaited again where it was. A new incarnation takes over for good.

        Raises RefusedError for an incarnation from which another one has taken over.
        """
        before = self._members.get(record.client)
        superseded = before.superseded if before else ()
        if record.incarnation in superseded:
            self.listen(record.client, record.incarnation)
        if before is not None and before.incarnation != record.incarnation:
            superseded = (*superseded, before.incarnation)[-REMEMBERED:]
        self._put(
            Member(
                client=record.client,
                incarnation=record.incarnation,
                joined=offset,
                examples=record.examples,
                last_ms=time_ms,
                counted=before.counted if before else None,
                seconds=before.seconds if before else 0.0,
                labels=record.labels,
                growing=record.growing,
                superseded=superseded,
            )
        )

    def touch(self, client: str, time_ms: int) -> None:
        """The client gave a sign of life."""
        self._members[client] = msgspec.structs.replace(self._members[client], last_ms=time_ms)

    def hear(self, record: Heartbeat | Left | ClientFailed, time_ms: int) -> None:
        """A sign of life or of leaving, of the incarnation that speaks for the client."""
        member = self._members[record.client]
        status = {Heartbeat: member.status, Left: "left", ClientFailed: "failed"}[type(record)]
        self._put(msgspec.structs.replace(member, status=status, last_ms=time_ms))
