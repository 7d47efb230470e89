"""Who takes part in a federation, as the aggregator topic tells it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Set

import msgspec

from mainstem.errors import RefusedError
from mainstem.protocol.messages import (
    Base,
    ClientFailed,
    Heartbeat,
    Joined,
    Left,
    Member,
    Reason,
    Rules,
    Snapshot,
    Update,
)

REMEMBERED = 8
"""Superseded incarnations of a client that its member's record names, in `REMEMBERED_BYTES` of JSON together."""
REMEMBERED_BYTES = 1024

LABELS_BYTES = 16 << 20
"""Of JSON: what `max_clients` members may tell of their labels, each an equal share."""

NOTES_BYTES = 200_000
"""Of what members say to people: beyond that a snapshot does not repeat it."""

RULES = Rules()


class Roster:
    """The members by client id, and the ones whose answer the open round waits for.

    Who is active and who is awaited are kept as sets: a round of N clients costs O(N), not O(N) at every record.
    `forgotten` is the snapshot's.
    """

    def __init__(self, members: Iterable[Member] = (), rules: Rules = RULES, forgotten: int | None = None) -> None:
        self._rules, self.forgotten = rules, forgotten
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

    def is_given_up(self, member: Member) -> bool:
        """Whether so many deadlines passed without a word of it that no round waits for it."""
        return 0 < self._rules.missed_limit <= member.missed

    @property
    def unmeasured(self) -> Set[str]:
        """The active clients that are waited for, also where only their evaluation is missing."""
        return {client for client in self._active if not self.is_given_up(self._members[client])}

    def speaks(self, client: str, incarnation: str) -> bool:
        """Whether this incarnation is the one that joined last."""
        member = self._members.get(client)
        return member is not None and member.incarnation == incarnation

    def listen(self, client: str, incarnation: str) -> None:
        """Raises RefusedError unless this incarnation speaks for the client."""
        member = self._members.get(client)
        if member is None:
            raise RefusedError(Reason.UNKNOWN_CLIENT, "it has not joined, or has left")
        if self._is_removed(member, incarnation):
            raise RefusedError(
                Reason.REMOVED,
                f"incarnation {incarnation[:40]!r} was removed from the run: start the client anew where it is to come "
                "back",
            )
        if incarnation in member.superseded:
            raise RefusedError(
                Reason.SUPERSEDED,
                f"another process has taken over the client id at offset {member.joined} (incarnation "
                f"{member.incarnation[:40]!r}), so incarnation {incarnation[:40]!r} does not count any more: "
                "two data sets need two client ids",
            )
        if incarnation != member.incarnation:
            raise RefusedError(Reason.UNKNOWN_CLIENT, f"its incarnation {incarnation[:40]!r} has not joined")

    @staticmethod
    def _is_removed(member: Member, incarnation: str) -> bool:
        return member.status == "removed" and incarnation in (member.incarnation, *member.superseded)

    def miss(self, clients: Iterable[str], seconds: float) -> None:
        """These were asked and did not answer in so many seconds: they are at least so slow."""
        for client in clients:
            member = self._members.get(client)
            if member is not None and member.seconds < seconds:
                self._members[client] = msgspec.structs.replace(member, seconds=seconds)

    def miss_deadline(self) -> None:
        """A deadline has passed: whoever is awaited has missed one more."""
        for client in sorted(self.awaited):
            if (member := self._members.get(client)) is not None:
                self._put(msgspec.structs.replace(member, missed=member.missed + 1))

    def remove(self, client: str) -> None:
        """An operator puts the client's processes out: what they sent counts, what they will send does not."""
        member = self._members.get(client)
        if member is not None:
            self._put(msgspec.structs.replace(member, status="removed", labels={}, note=""))

    def expect(self, base: Base, clients: Iterable[str] | None = None) -> None:
        """The round from `base` that opens now waits for these; for all who are active where it is not said."""
        self._base = base
        self.expected = frozenset(self._active if clients is None else clients)
        self.awaited = {client for client in self.expected if self._owes(client)}

    def _owes(self, client: str) -> bool:
        """Whether something is still awaited from the client for the round's model."""
        member = self._members.get(client)
        return self._is_unanswered(client) and (member is None or not self.is_given_up(member))

    def _is_unanswered(self, client: str) -> bool:
        """Not where its update counts already, or it is gone."""
        member = self._members.get(client)
        return member is None or (member.status == "active" and (not self._base or member.counted != self._base.seq))

    @property
    def unanswered(self) -> Set[str]:
        """Whom the round has asked in vain so far, also those whom it waits for no longer."""
        return {client for client in self.expected if self._is_unanswered(client)}

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

    def join(self, record: Joined, offset: int, time_ms: int, site: str = "") -> None:
        """A client of that site joins, or comes back: then it is awaited again where it was. A new incarnation takes
        over for good.

        Raises RefusedError for an incarnation from which another one has taken over, or that was removed.
        """
        before = self._members.get(record.client)
        superseded = before.superseded if before else ()
        if before is not None and (record.incarnation in superseded or self._is_removed(before, record.incarnation)):
            self.listen(record.client, record.incarnation)
        if before is not None and before.incarnation != record.incarnation:
            superseded = _newest((*superseded, before.incarnation))
        self._put(
            Member(
                client=record.client,
                incarnation=record.incarnation,
                joined=offset,
                examples=record.examples,
                last_ms=time_ms,
                counted=before.counted if before else self.forgotten,
                seconds=before.seconds if before else 0.0,
                labels=self._labels(record),
                growing=record.growing,
                superseded=superseded,
                note=record.note,
                site=site,
            )
        )

    def _labels(self, record: Joined) -> dict[str, int]:
        """What the selection needs of them, as far as it fits in the member's share of a snapshot."""
        if self._rules.selection.name != "label_coverage":
            return {}
        share = LABELS_BYTES // self._rules.max_clients
        names = sorted(record.labels)
        sizes = itertools.accumulate(len(msgspec.json.encode(name)) + 20 for name in names)
        return {name: record.labels[name] for name, size in zip(names, sizes, strict=True) if size <= share}

    def touch(self, client: str, time_ms: int) -> None:
        """The client gave a sign of life."""
        self._put(msgspec.structs.replace(self._members[client], last_ms=time_ms, missed=0))

    def hear(self, record: Heartbeat | Left | ClientFailed, time_ms: int) -> None:
        """A sign of life or of leaving, of the incarnation that speaks for the client."""
        member = self._members[record.client]
        status = {Heartbeat: member.status, Left: "left", ClientFailed: "failed"}[type(record)]
        self._put(msgspec.structs.replace(member, status=status, last_ms=time_ms, missed=0))

    def snapshot(self, position: int, time_ms: int, oldest: int | None) -> Snapshot:
        """What the next round needs of them. `oldest` is the `seq` of the oldest base before the new model from which
        an update may still count, None where there is none.

        Of those who are gone it names whom the next rounds must tell from a stranger: who was removed, and whose
        updates might come twice; the newest `max_clients`, so that it is bounded whoever comes and goes.
        """
        gone = [member for client, member in self._members.items() if client not in self._active]
        needed = [m for m in gone if m.status == "removed" or _counts_from(m, oldest)]
        needed.sort(key=lambda member: (member.last_ms, member.client))
        named = {member.client for member in needed[-self._rules.max_clients :]}
        dropped = [m.counted for m in gone if m.client not in named and m.counted is not None]
        known = [*dropped, *(() if self.forgotten is None else (self.forgotten,))]
        members = _brief(member for member in self.members if member.client in self._active or member.client in named)
        return Snapshot(position=position, time_ms=time_ms, members=members, forgotten=max(known, default=None))


def _counts_from(member: Member, oldest: int | None) -> bool:
    return oldest is not None and member.counted is not None and member.counted >= oldest


def _newest(incarnations: tuple[str, ...]) -> tuple[str, ...]:
    """Those of them that are remembered."""
    newest = incarnations[: -REMEMBERED - 1 : -1]
    sizes = itertools.accumulate(len(msgspec.json.encode(incarnation)) for incarnation in newest)
    return tuple(i for i, size in zip(newest, sizes, strict=True) if size <= REMEMBERED_BYTES)[::-1]


def _brief(members: Iterable[Member]) -> tuple[Member, ...]:
    """The members with as many of their notes as there is room for, in order."""
    kept, used = [], 0
    for member in members:
        size = len(msgspec.json.encode(member.note)) if member.note else 0
        fits = used + size <= NOTES_BYTES
        used += size if fits else 0
        kept.append(member if fits else msgspec.structs.replace(member, note=""))
    return tuple(kept)


def remark(member: Member, rules: Rules, note: str) -> str:
    """What people are told of a member: that no round waits for it any more, and what it said itself."""
    given_up = member.status == "active" and 0 < rules.missed_limit <= member.missed
    deadlines = f"{member.missed} deadline{'s' if member.missed > 1 else ''}"
    silent = f"missed {deadlines}: not waited for until it says something" if given_up else ""
    return "; ".join(filter(None, (silent, note)))
