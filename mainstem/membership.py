"""Who takes part in a federation, as the aggregator topic tells it."""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from mainstem.messages import Base, ClientFailed, Heartbeat, Joined, Left, Member


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

    def knows(self, client: str) -> bool:
        """Whether the client has joined at some time."""
        return client in self._members

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

    def count(self, client: str, base: Base, seconds: float) -> None:
        """The client's update from `base`, trained in so many seconds, counts from now on."""
        member = self._members[client]
        measured = seconds if seconds > 0 else member.seconds
        self._put(msgspec.structs.replace(member, counted=base.seq, seconds=measured))

    def join(self, record: Joined, offset: int, time_ms: int) -> None:
        """A client joins, or comes back: then it is awaited again where it was."""
        before = self._members.get(record.client)
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
                note=record.note,
            )
        )

    def touch(self, client: str, time_ms: int) -> None:
        """The client gave a sign of life."""
        self._members[client] = msgspec.structs.replace(self._members[client], last_ms=time_ms)

    def hear(self, record: Heartbeat | Left | ClientFailed, time_ms: int) -> None:
        """A sign of life or of leaving; what an earlier incarnation says of its end does not count."""
        member = self._members[record.client]
        status = member.status
        if record.incarnation == member.incarnation:
            status = {Heartbeat: status, Left: "left", ClientFailed: "failed"}[type(record)]
        self._put(msgspec.structs.replace(member, status=status, last_ms=time_ms))
