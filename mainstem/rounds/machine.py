"""The server's state machine: events in, effects out, no I/O, no clock but what the log tells.

Everything it knows comes from the chain's head and from partition 0 of the aggregator topic, read from the head's
snapshot on; so a successor that reads the same log decides as its predecessor would. An event that the state does
not allow raises ProtocolError and changes nothing.

    Followed(head) -> restore from the head's snapshot; read on from `position`
    Seen(record)   -> Check(update) for a manifest that may count; Close(plan) when the round is complete or due
    Checked        -> accepted or refused; perhaps Close(plan)
    Reduced        -> Append(round record)         Unreducible -> Append(failed record)
    Commanded      -> Append(lifecycle record) or Reject
"""

from __future__ import annotations

from collections import Counter

from mainstem import modes
from mainstem.chain import Head
from mainstem.commands import answer
from mainstem.errors import ProtocolError, RefusedError
from mainstem.membership import Roster
from mainstem.messages import (
    Accepted,
    ClientFailed,
    Closed,
    Command,
    Failed,
    Finished,
    Heartbeat,
    Joined,
    Left,
    Lifecycle,
    Metrics,
    Reason,
    Refused,
    Rejected,
    Round,
    Selected,
    Tick,
    Update,
    Weights,
)
from mainstem.policy import Policy
from mainstem.rounds.events import (
    Append,
    Check,
    Checked,
    Close,
    Commanded,
    Effect,
    Event,
    Followed,
    Plan,
    Reduced,
    Reject,
    Seen,
    Unreducible,
)
from mainstem.rounds.judging import asks, choose, judge
from mainstem.rounds.making import successor, weighted
from mainstem.rounds.timing import RoundTime, since

REFUSALS_KEPT = 100
"""Refusals a round's record names one by one; the others are counted by reason."""


class RoundMachine:
    """One federation's rounds. `writer` names this process in the records that it makes."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self.head: Head | None = None
        self.phase = "unborn"
        self.position = 0
        self.time = RoundTime()
        self.heard_ms = 0
        self.opened_ms = 0
        self.deadline_ms: int | None = None
        self.roster = Roster()
        self.accepted: list[tuple[Accepted, Weights]] = []
        self.refused: list[Refused] = []
        self.refused_more: Counter[str] = Counter()
        self._named: set[tuple[str, str]] = set()
        self.evaluations: dict[str, Metrics] = {}
        self._checking: tuple[Seen, Update, float] | None = None
        self._plan: Plan | None = None
        self._commands: dict[int, Command] = {}
        self._removals: tuple[tuple[str, int], ...] = ()

    # ------------------------------------------------------------ the table of transitions
    def handle(self, event: Event) -> list[Effect]:
        """The effects of one event; raises ProtocolError (and changes nothing) where it is not allowed now."""
        match event:
            case Followed():
                return self._follow(event.head)
            case Commanded():
                return self._commanded(event)
            case Seen() if self.phase in ("waiting", "open", "final"):
                return self._see(event)
            case Checked() if self.phase == "checking" and self._checking and self._checking[0].offset == event.offset:
                return self._checked(event.refusal)
            case Reduced() if self._plan is not None:
                return [self._commit(event.weights, self._plan)]
            case Unreducible() if self._plan is not None:
                return [self._append(Failed, detail=event.detail)]
            case _:
                raise ProtocolError(f"{type(event).__name__} is not allowed while {self.phase}")

    @property
    def time_ms(self) -> int:
        """Round time."""
        return self.time.now_ms

    @property
    def wake_ms(self) -> int | None:
        """The round time at which something is due though nobody writes; None where nothing is."""
        if self.head is None or self.phase not in ("waiting", "open", "final"):
            return None
        due = [self._limit_ms(self.head)]
        if self.deadline_ms is not None:
            due.append(self.deadline_ms)
        return min(due)

    @property
    def quorum(self) -> int:
        """How many updates a round needs."""
        head = self._head
        if head.selected is not None:
            return head.selected.quorum
        return head.rules.quorum if head.rules.quorum is not None else self._policy.mode.quorum

    @property
    def awaited(self) -> frozenset[str]:
        """The members whose answer the open round waits for."""
        return frozenset(self.roster.awaited)

    @property
    def _head(self) -> Head:
        assert self.head is not None
        return self.head

    # ------------------------------------------------------------ following the chain
    def _follow(self, head: Head) -> list[Effect]:
        if self.head is not None and head.link.record.seq <= self.head.link.record.seq:
            raise ProtocolError("a head can only be followed by a later one")
        self._policy = Policy.of(head)  # first, for it may raise: a mode or strategy that this version does not know
        snapshot = head.snapshot
        self.head = head
        self.position, self.time = snapshot.position, RoundTime.of(head)
        self.heard_ms = self.time_ms
        members = since(snapshot.members, snapshot.time_ms, head.since_ms)
        self.roster = Roster(members, head.rules, snapshot.forgotten)
        self._removals = head.removals
        self.accepted, self.evaluations = [], {}
        self.refused, self.refused_more, self._named = [], Counter(), set()
        self._checking, self._plan = None, None
        self._commands = {offset: c for offset, c in self._commands.items() if offset > head.command}
        self.opened_ms, self.deadline_ms = head.since_ms, None
        if head.ended:
            self.phase = "ended"
        elif head.final:
            self.phase, self.deadline_ms = "final", head.since_ms + head.rules.final_wait_ms
        else:
            self.phase = "waiting"
            self._open_if_ready(head.since_ms)
        return self._next()

    def _put_out(self, seq: int) -> None:
        """Whoever was removed by a record of the chain up to `seq` is gone from here on."""
        for client in [client for client, removed in self._removals if removed <= seq]:
            self.roster.remove(client)
        self._removals = tuple(removal for removal in self._removals if removal[1] > seq)

    def _open_if_ready(self, time_ms: int) -> None:
        head = self._head
        enough = head.selected is not None or len(self.roster.active) >= head.rules.min_clients
        if self.phase != "waiting" or not enough:
            return
        self.phase = "open"
        self.roster.expect(head.base, head.selected.clients if head.selected else None)
        self.opened_ms = max(head.since_ms, time_ms)
        self.deadline_ms = self.opened_ms + head.rules.deadline_ms

    # ------------------------------------------------------------ the clients' records
    def _see(self, event: Seen) -> list[Effect]:
        if event.offset < self.position:
            raise ProtocolError(f"offset {event.offset} was already seen")
        self.time.see(event)
        self.heard_ms = self.time.heard_ms(event)
        if isinstance(event.record, Tick) and (event.record.seq or 0) <= self._head.link.record.seq:
            self._put_out(event.record.seq or 0)
        due = self._due(event.offset)
        if due:
            return due  # the record stays unseen: it belongs to what comes next
        self.position = event.offset + 1
        record = event.record
        match record:
            case None:
                self._refuse(None, event.offset, Reason.MALFORMED, event.problem)
            case Joined():
                self._join(event.offset, record)
            case Update():
                return self._examine(event, record)
            case Heartbeat() | Left() | ClientFailed():
                self._hear(event.offset, record)
            case Tick():
                pass
        return self._next()

    def _join(self, offset: int, record: Joined) -> None:
        if record.federation != self._head.opened.federation:
            self._refuse(record.client, offset, Reason.MALFORMED, f"it names federation {record.federation[:20]!r}")
        elif len(self.roster.active) - (record.client in self.roster.active) >= self._head.rules.max_clients:
            self._refuse(record.client, offset, Reason.FULL, f"{self._head.rules.max_clients} clients are in already")
        else:
            try:
                self.roster.join(record, offset, self.heard_ms)
            except RefusedError as refusal:
                self._refuse(record.client, offset, refusal.reason, refusal.detail)
                return
            self._open_if_ready(self.time_ms)

    def _hear(self, offset: int, record: Heartbeat | Left | ClientFailed) -> None:
        try:
            self.roster.listen(record.client, record.incarnation)
        except RefusedError as refusal:
            if not isinstance(record, ClientFailed):  # whoever gives up may say so; it concerns no round
                self._refuse_once(record, offset, refusal)
            return
        self.roster.hear(record, self.heard_ms)
        room = len(self.evaluations) < self._head.rules.max_clients  # also where a crowd comes and goes
        if isinstance(record, Left) and record.evaluation and record.version == self._head.base.version and room:
            self.evaluations.setdefault(record.client, record.evaluation)

    def _examine(self, seen: Seen, update: Update) -> list[Effect]:
        try:
            self.roster.listen(update.client, update.incarnation)
            self.roster.touch(update.client, self.heard_ms)
            coefficient = judge(self._head, self._policy, self.roster, seen.offset, update)
        except RefusedError as refusal:
            self._refuse(update.client, seen.offset, refusal.reason, refusal.detail)
            return self._next()
        self._checking = (seen, update, coefficient)
        self._resume, self.phase = self.phase, "checking"
        return [Check(seen.offset, update)]

    def _checked(self, refusal: RefusedError | None) -> list[Effect]:
        assert self._checking is not None
        seen, update, coefficient = self._checking
        self._checking, self.phase = None, self._resume
        if refusal is not None:
            self._refuse(update.client, seen.offset, refusal.reason, refusal.detail)
            return self._next()
        accepted = Accepted(
            client=update.client,
            offset=seen.offset,
            sha256=update.weights.sha256,
            record=seen.sha256,
            nbytes=update.weights.nbytes,
            base=update.base,
            number=update.number,
            examples=update.examples,
            coefficient=coefficient,
            received_ms=self.heard_ms,
            report=update.report,
        )
        self.accepted.append((accepted, update.weights))
        self.roster.count(update)
        return self._next()

    def _refuse_once(self, record: Heartbeat | Left, offset: int, refusal: RefusedError) -> None:
        """Of what comes every few seconds the first is named, the others are counted."""
        who = (record.client, record.incarnation)
        if who in self._named:
            self.refused_more[refusal.reason] += 1
            return
        self._refuse(record.client, offset, refusal.reason, refusal.detail)
        if len(self.refused) < REFUSALS_KEPT:
            self._named.add(who)

    def _refuse(self, client: str | None, offset: int, reason: str, detail: str) -> None:
        name = client[:64] if client is not None else None
        if len(self.refused) < REFUSALS_KEPT:
            self.refused.append(Refused(client=name, offset=offset, reason=reason, detail=detail[:500]))
        else:
            self.refused_more[reason] += 1

    # ------------------------------------------------------------ closing
    def _next(self) -> list[Effect]:
        """What is to be done now that an event is digested: a command's answer first, then the round's close."""
        if self._commands and self.phase not in ("unborn", "checking", "closing"):
            return self._answer()
        if self.phase == "open":
            if asks(self._head, self._policy, self.roster, self.time) and (asked := self._select()):
                return asked
            tally = modes.Tally(len(self.roster.awaited), len(self.accepted), self.quorum)
            if by := self._policy.mode.complete(tally):
                return self._close(by, self.position - 1)
        if self.phase == "final" and self.roster.unmeasured <= self.evaluations.keys():
            return [self._finish()]
        return []

    def _due(self, offset: int) -> list[Effect]:
        head = self._head
        if self.phase == "final":
            return [self._finish()] if self.deadline_ms is not None and self.time_ms >= self.deadline_ms else []
        overdue = self.deadline_ms is not None and self.time_ms >= self.deadline_ms
        if overdue:
            self.roster.miss_deadline()
        if overdue and len(self.accepted) >= self.quorum:
            return self._close("deadline", offset)  # also where the limit has passed: nothing accepted is thrown away
        if overdue and head.selected is not None and head.rules.below_quorum == "extend" and (more := self._select()):
            return more  # before the limit: whoever came meanwhile has a chance; each time there are fewer left to ask
        if self.time_ms >= self._limit_ms(head):
            return [self._give_up(f"it waited {head.rules.wait_limit_ms / 1000:g} s")]
        if not overdue or self.deadline_ms is None:
            return []
        if head.rules.below_quorum == "fail":
            return [self._give_up("the round's deadline passed")]
        missed = (self.time_ms - self.deadline_ms) // head.rules.deadline_ms + 1
        self.deadline_ms += missed * head.rules.deadline_ms
        return []

    def _limit_ms(self, head: Head) -> int:
        if self.phase == "waiting":
            return head.since_ms + head.rules.wait_limit_ms
        # an open round has its whole deadline, however late its clients came
        return max(head.since_ms + head.rules.wait_limit_ms, self.opened_ms + head.rules.deadline_ms)

    def _select(self) -> list[Effect]:
        fields = choose(self._head, self._policy, self.roster, self.time_ms)
        return [self._append(Selected, **fields)] if fields else []

    def _close(self, by: str, offset: int) -> list[Effect]:
        chosen = sorted(self.accepted, key=lambda pair: (pair[0].sha256, pair[0].client, pair[0].base.seq))
        self._plan = Plan(
            base=self._head.base,
            accepted=tuple(accepted for accepted, _ in chosen),
            manifests=tuple(manifest for _, manifest in chosen),
            closed=Closed(by=by, offset=offset, time_ms=self.time_ms),
        )
        self.phase = "closing"
        return [Close(self._plan)]

    def _commit(self, weights: Weights, plan: Plan) -> Append:
        head = self._head
        fresh = [accepted for accepted in plan.accepted if accepted.base == plan.base]  # what measured its model
        if head.selected is not None:
            missing = set(head.selected.clients) - {accepted.client for accepted in plan.accepted}
            self.roster.miss(missing, (plan.closed.time_ms - self.opened_ms) / 1000)
        self._put_out(head.link.record.seq)  # at the latest: a quick round may have no tick
        return self._append(
            Round,
            round=head.round + 1,
            version=head.version + 1,
            base=plan.base,
            strategy=head.opened.strategy,
            accepted=plan.accepted,
            weights=weights,
            snapshot=self.roster.snapshot(self.position, self.time_ms, self._oldest()),
            closed=plan.closed,
            opened_ms=self.opened_ms,
            writer=self._writer,
            final=head.round + 1 >= head.rules.rounds,
            refused=tuple(self.refused),
            refused_more=dict(sorted(self.refused_more.items())),
            evaluation=weighted([a.report.evaluation for a in fresh if a.report.evaluation]),
        )

    def _oldest(self) -> int | None:
        """The `seq` of the oldest model so far from which an update may count in the next round; None for none."""
        reach = self._policy.mode.reach
        return self._head.lineage[-reach:][0].seq if reach else None

    def _finish(self) -> Append:
        return self._append(
            Finished,
            version=self._head.base.version,
            sha256=self._head.weights.sha256,
            evaluation=weighted(list(self.evaluations.values())),
            evaluations=dict(sorted(self.evaluations.items())),
        )

    def _give_up(self, because: str) -> Append:
        missing = ", ".join(sorted(self.roster.unanswered)) or f"{self._head.rules.min_clients} clients to join"
        return self._append(
            Failed, detail=f"{because} with {len(self.accepted)} of {self.quorum} updates; missing: {missing}"[:1000]
        )

    def _append(self, kind: type[Lifecycle], **fields: object) -> Append:
        self.phase, self._plan = "closing", None
        return Append(successor(self._head, kind, fields))

    # ------------------------------------------------------------ commands
    def _commanded(self, event: Commanded) -> list[Effect]:
        if self.head is not None and event.offset <= self.head.command:
            return []
        self._commands[event.offset] = event.command
        return self._next() if self.head is not None else []

    def _answer(self) -> list[Effect]:
        offset = min(self._commands)
        kind, fields = answer(self._head, offset, self._commands[offset])
        if kind is None:
            del self._commands[offset]
            rejected = Rejected(federation=self._head.opened.federation, command=offset, detail=str(fields["detail"]))
            return [Reject(rejected), *self._next()]
        return [self._append(kind, **fields)]  # kept until a head answers it: this record may be superseded

    def rejected(self, command_offset: int) -> None:
        """Another worker, or this one before, has rejected the command."""
        self._commands.pop(command_offset, None)
