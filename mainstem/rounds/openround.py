"""What is known of the round under one head: who takes part, what counts, what was refused, and its time."""

from __future__ import annotations

from typing import Protocol

from mainstem.errors import RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import nbytes_of
from mainstem.protocol.messages import (
    Accepted,
    ClientFailed,
    Heartbeat,
    Joined,
    Left,
    Metrics,
    Reason,
    Snapshot,
    Tick,
    Unknown,
    Update,
)
from mainstem.rounds import admission
from mainstem.rounds.events import Seen
from mainstem.rounds.membership import Roster
from mainstem.rounds.policy import Policy
from mainstem.rounds.refusals import Refusals
from mainstem.rounds.timing import RoundTime, since


class ClientRecord(Protocol):
    """A client's record that a step takes."""

    @property
    def client(self) -> str:
        """Whose it is."""
        ...

    @property
    def incarnation(self) -> str:
        """Which process of it."""
        ...


class OpenRound:
    """All of it comes from the head and from partition 0 of the aggregator topic, read from the head's snapshot on.

    So it is made anew with every head; `position` is the offset that is read next, `offset` that of the record at
    hand. Times are milliseconds of round time. Raises ConfigError for a mode or strategy that is not known here.
    """

    def __init__(self, head: Head) -> None:
        snapshot = head.snapshot
        self.head, self.policy = head, Policy.of(head)
        self.position, self.offset = snapshot.position, snapshot.position - 1
        self.time = RoundTime.of(head)
        self.heard_ms = self.time_ms
        members = since(snapshot.members, snapshot.time_ms, head.since_ms)
        self.roster = Roster(members, head.rules, snapshot.forgotten)
        self._admit()
        self._removals = head.removals
        self.accepted: list[tuple[Accepted, Update]] = []
        self.answers: dict[str, Seen] = {}
        """By client: what counts in a step that takes something else than updates."""
        self.refusals = Refusals()
        self.evaluations: dict[str, Metrics] = {}
        self.personals: dict[str, Metrics] = {}
        self.opened_ms = head.since_ms
        final = head.final and not head.ended
        self.deadline_ms = head.since_ms + head.rules.final_wait_ms if final else None

    # ------------------------------------------------------------ time
    @property
    def time_ms(self) -> int:
        """Round time."""
        return self.time.now_ms

    @property
    def overdue(self) -> bool:
        """Whether a deadline has come."""
        return self.deadline_ms is not None and self.time_ms >= self.deadline_ms

    @property
    def limit_ms(self) -> int:
        """When the run fails for want of clients."""
        limit_ms = self.head.since_ms + self.head.rules.wait_limit_ms
        if self.deadline_ms is None:
            return limit_ms
        # an open round has its whole deadline, however late its clients came
        return max(limit_ms, self.opened_ms + self.head.rules.deadline_ms)

    def reach(self, seen: Seen) -> None:
        """The next record is at hand; it is not taken in yet, its time is."""
        self.time.see(seen)
        self.offset, self.heard_ms = seen.offset, self.time.heard_ms(seen)
        if isinstance(seen.record, Tick) and (seen.record.seq or 0) <= self.head.link.record.seq:
            self.put_out(seen.record.seq or 0)

        if self._expires is not None and self.time_ms > self._expires:
            self._admit()

    def extend(self) -> None:
        """Move the deadline on by whole `deadline_ms`, past the present time."""
        assert self.deadline_ms is not None
        missed = (self.time_ms - self.deadline_ms) // self.head.rules.deadline_ms + 1
        self.deadline_ms += missed * self.head.rules.deadline_ms

    # ------------------------------------------------------------ who takes part
    @property
    def quorum(self) -> int:
        """How many updates a round needs."""
        head = self.head
        if head.selected is not None:
            return head.selected.quorum
        return head.rules.quorum if head.rules.quorum is not None else self.policy.quorum

    def open(self, time_ms: int) -> bool:
        """Whether enough clients are there; then the round is open, since `time_ms`, and waits for them."""
        head = self.head
        if head.asked is None and len(self.roster.active) < head.rules.min_clients:
            return False
        self.roster.expect(head.base, head.asked)
        self.opened_ms = max(head.since_ms, time_ms)
        self.deadline_ms = self.opened_ms + head.rules.deadline_ms
        return True

    def put_out(self, seq: int) -> None:
        """Whoever was removed by a record of the chain up to `seq` is gone from here on."""
        for client in [client for client, removed in self._removals if removed <= seq]:
            self.roster.remove(client)
        self._removals = tuple(removal for removal in self._removals if removal[1] > seq)

    def _admit(self) -> None:
        """Whoever belongs to a site that is not admitted, or no longer, is gone: what it had sent in time counts."""
        rules = self.head.rules.admission
        self._sites = admission.standing(rules, self.time_ms)
        self._expires = admission.next_expiry(rules, self.time_ms)
        if self._sites is not None:
            for member in self.roster.members:
                if member.status != "removed" and member.site not in self._sites:
                    self.roster.remove(member.client)

    def authorise(self, seen: Seen, record: ClientRecord) -> str:
        """The site whose client wrote the record at hand, "" in an open run; raises RefusedError.

        A client id is its site's from the first `joined` that counts, for as long as the site is admitted.
        """
        time_ms = seen.time_ms if seen.appended else self.heard_ms
        site = admission.site_of(self.head.rules.admission, seen, time_ms)
        member = self.roster.get(record.client) if self._sites is not None else None
        joins = isinstance(record, Joined) and member is not None and member.site not in (self._sites or ())
        if member is not None and member.site != site and not joins:
            whose = f"site {member.site}" if member.site else "no site"
            raise RefusedError(
                Reason.UNAUTHORISED, f"the client id is one of {whose}, and site {site} has signed this record"
            )
        return site

    def vouches(self, seen: Seen) -> bool:
        """Whether the record is of somebody who may take part."""
        if seen.record is None or isinstance(seen.record, Tick | Unknown):
            return False
        try:
            self.authorise(seen, seen.record)
        except RefusedError:
            return False
        return True

    def join(self, offset: int, record: Joined, site: str = "") -> None:
        """A client of that site joins, or is refused."""
        if record.federation != self.head.opened.federation:
            detail = f"it names federation {record.federation[:20]!r}"
            self.refusals.refuse(record.client, offset, Reason.MALFORMED, detail)
        elif len(self.roster.active) - (record.client in self.roster.active) >= self.head.rules.max_clients:
            detail = f"{self.head.rules.max_clients} clients are in already"
            self.refusals.refuse(record.client, offset, Reason.FULL, detail)
        else:
            try:
                self.roster.join(record, offset, self.heard_ms, site)
            except RefusedError as refusal:
                self.refusals.refuse(record.client, offset, refusal.reason, refusal.detail)

    def hear(self, offset: int, record: Heartbeat | Left | ClientFailed) -> None:
        """A sign of life or of its end, perhaps with what a client measured of the last model."""
        try:
            self.roster.listen(record.client, record.incarnation)
        except RefusedError as refusal:
            if not isinstance(record, ClientFailed):  # whoever gives up may say so; it concerns no round
                self.refusals.refuse_once(record, offset, refusal)
            return
        self.roster.hear(record, self.heard_ms)
        if isinstance(record, Left) and record.version == self.head.base.version:
            for measured, found in ((self.evaluations, record.evaluation), (self.personals, record.personal)):
                if found and len(measured) < self.head.rules.max_clients:  # also where a crowd comes and goes
                    measured.setdefault(record.client, found)

    # ------------------------------------------------------------ what counts
    def count(self, seen: Seen, record: ClientRecord) -> None:
        """The record at hand counts in its step."""
        if not isinstance(record, Update):
            self.answers[record.client] = seen
            return
        accepted = Accepted(
            client=record.client,
            offset=seen.offset,
            sha256=record.weights.sha256,
            record=seen.sha256,
            nbytes=nbytes_of(record),
            base=record.base,
            number=record.number,
            examples=record.examples,
            steps=record.steps,
            loss=record.loss,
            coefficient=0.0,  # until the round is reduced
            received_ms=self.heard_ms,
            report=record.report,
        )
        self.accepted.append((accepted, record))
        self.roster.count(record)

    def snapshot(self) -> Snapshot:
        """What the next round needs of this one."""
        return self.roster.snapshot(self.position, self.time_ms, self._oldest())

    def _oldest(self) -> int | None:
        """The `seq` of the oldest model so far from which an update may count in the next round; None for none."""
        reach = self.policy.mode.reach
        return self.head.lineage[-reach:][0].seq if reach else None
