"""The server's state machine: events in, effects out, no I/O, no clock but what the log tells.

Everything it knows comes from the chain's head and from partition 0 of the aggregator topic, read from the head's
snapshot on; so a successor that reads the same log decides as its predecessor would. Which event each phase accepts
stands in `phases.TABLE`; one that the state does not allow raises ProtocolError and changes nothing.

    Followed(head) -> restore from the head's snapshot; read on from `position`
    Seen(record)   -> Check(update) for a manifest that may count; what ends the round's step once it is complete or due
    Checked        -> accepted or refused; perhaps what ends the step
    Reduced        -> Append(round record)         Unreducible -> Append(failed record)
    Commanded      -> Append(lifecycle record) or Reject          Rejected -> no answer of ours
"""

from __future__ import annotations

from typing import assert_never

from mainstem.errors import ProtocolError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import (
    ClientFailed,
    Failed,
    Finished,
    Heartbeat,
    Joined,
    Left,
    Lifecycle,
    Reason,
    Rejected,
    Round,
    Tick,
    Unknown,
    Update,
)
from mainstem.rounds.commands import Commands
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
from mainstem.rounds.making import decided, successor, weighted
from mainstem.rounds.openround import ClientRecord, OpenRound
from mainstem.rounds.phases import READING, TABLE, Phase
from mainstem.rounds.steps import admit, complete


class RoundMachine:
    """One federation's rounds. `writer` names this process in the records that it makes."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self.phase = Phase.UNBORN
        self._round: OpenRound | None = None
        self._resume = Phase.UNBORN
        self._checking: tuple[Seen, Update] | None = None
        self._plan: Plan | None = None
        self._commands = Commands()

    def handle(self, event: Event) -> list[Effect]:
        """The effects of one event; raises ProtocolError (and changes nothing) where it is not allowed now."""
        if type(event) not in TABLE[self.phase]:
            raise ProtocolError(f"{type(event).__name__} is not allowed while {self.phase}")
        match event:
            case Followed():
                return self._follow(event.head)
            case Commanded():
                self._commands.put(event.offset, event.command)
                return self._next()
            case Rejected():
                self._commands.reject(event.command)
                return []
            case Seen():
                return self._see(event)
            case Checked():
                return self._checked(event)
            case Reduced():
                return [self._commit(event)]
            case Unreducible():
                return [self._append(Failed, detail=event.detail)]
            case _:
                assert_never(event)

    @property
    def head(self) -> Head | None:
        """The chain's head as far as it was followed."""
        return self._round.head if self._round is not None else None

    @property
    def round(self) -> OpenRound:
        """What is known of the round under the head; there is none while `unborn`."""
        assert self._round is not None
        return self._round

    @property
    def position(self) -> int:
        """The offset of the aggregator topic's partition 0 that is read next."""
        return self._round.position if self._round is not None else 0

    @property
    def wake_ms(self) -> int | None:
        """The round time at which something is due though nobody writes; None where nothing is."""
        if self.phase not in READING:
            return None
        limit_ms, deadline_ms = self.round.limit_ms, self.round.deadline_ms
        return limit_ms if deadline_ms is None else min(limit_ms, deadline_ms)

    # ------------------------------------------------------------ following the chain
    def _follow(self, head: Head) -> list[Effect]:
        if self.head is not None and head.link.record.seq <= self.head.link.record.seq:
            raise ProtocolError("a head can only be followed by a later one")
        self._round = OpenRound(head)  # first, for it may raise: a mode or strategy that this version does not know
        self._checking, self._plan = None, None
        self._commands.follow(head)
        self.phase = Phase.ENDED if head.ended else Phase.FINAL if head.final else Phase.WAITING
        self._open_if_ready(head.since_ms)
        return self._next()

    def _open_if_ready(self, time_ms: int) -> None:
        if self.phase is Phase.WAITING and self.round.open(time_ms):
            self.phase = Phase.OPEN

    # ------------------------------------------------------------ the clients' records
    def _see(self, seen: Seen) -> list[Effect]:
        round_, record = self.round, seen.record
        if seen.offset < round_.position:
            raise ProtocolError(f"offset {seen.offset} was already seen")
        round_.reach(seen)
        if due := self._due():
            return due  # the record stays unseen: it belongs to what comes next
        round_.position = seen.offset + 1
        match record:
            case None:
                round_.refusals.refuse(None, seen.offset, Reason.MALFORMED, seen.problem)
            case Tick() | Unknown():
                pass  # it tells time
            case _:
                return self._hear(seen, record)
        return self._next()

    def _hear(self, seen: Seen, record: Joined | Heartbeat | Left | ClientFailed | Update) -> list[Effect]:
        """What a client says, where it may say anything."""
        round_ = self.round
        try:
            site = round_.authorise(seen, record)
        except RefusedError as refusal:
            if isinstance(record, Heartbeat):
                round_.refusals.refuse_once(record, seen.offset, refusal)
            else:
                round_.refusals.refuse(record.client, seen.offset, refusal.reason, refusal.detail)
            return self._next()
        match record:
            case Joined():
                round_.join(seen.offset, record, site)
                self._open_if_ready(round_.time_ms)
            case Heartbeat() | Left() | ClientFailed():
                round_.hear(seen.offset, record)
            case _:
                return self._take(seen, record)
        return self._next()

    def _take(self, seen: Seen, record: ClientRecord) -> list[Effect]:
        """What a step asks for."""
        try:
            counts = admit(self.round, seen, record)
        except RefusedError as refusal:
            self.round.refusals.refuse(record.client, seen.offset, refusal.reason, refusal.detail)
            return self._next()
        if isinstance(record, Update) and counts:
            self._checking = (seen, record)
            self._resume, self.phase = self.phase, Phase.CHECKING
            return [Check(seen.offset, record)]
        if counts:
            self.round.count(seen, record)
        return self._next()

    def _checked(self, checked: Checked) -> list[Effect]:
        assert self._checking is not None
        seen, update = self._checking
        if checked.offset != seen.offset:
            raise ProtocolError(f"offset {seen.offset} is being checked, not {checked.offset}")
        self._checking, self.phase = None, self._resume
        if checked.refusal is not None:
            self.round.refusals.refuse(update.client, seen.offset, checked.refusal.reason, checked.refusal.detail)
        else:
            self.round.count(seen, update)
        return self._next()

    # ------------------------------------------------------------ what is to be done
    def _next(self) -> list[Effect]:
        """What is to be done now that an event is digested: a command's answer first, then what ends the step."""
        if self._commands and self.phase in (*READING, Phase.ENDED):
            return self._answer()
        if self.phase is Phase.OPEN:
            return self._complete()
        if self.phase is Phase.FINAL and self.round.roster.unmeasured <= self.round.evaluations.keys():
            return [self._finish()]
        return []

    def _due(self) -> list[Effect]:
        """What is to be done before the record at hand is taken in, as its time says."""
        round_, rules = self.round, self.round.head.rules
        if self.phase is Phase.FINAL:
            return [self._finish()] if round_.overdue else []
        if overdue := round_.overdue:
            round_.roster.miss_deadline()
            if ending := self._complete():  # before the limit: whoever came meanwhile has a chance
                return ending
        if round_.time_ms >= round_.limit_ms:
            return [self._give_up(f"it waited {rules.wait_limit_ms / 1000:g} s")]
        if overdue and rules.below_quorum == "fail":
            return [self._give_up("the round's deadline passed")]
        if overdue:
            round_.extend()
        return []

    def _complete(self) -> list[Effect]:
        effect = complete(self.round)
        if isinstance(effect, Close):
            self.phase, self._plan = Phase.REDUCING, effect.plan
        elif isinstance(effect, Append):
            self.phase = Phase.COMMITTING
        return [effect] if effect is not None else []

    def _answer(self) -> list[Effect]:
        """The answer to the oldest command."""
        head = self.round.head
        offset, (kind, fields) = self._commands.answer(head)
        if kind is not None:
            return [self._append(kind, **fields)]  # kept until a head answers it: this record may be superseded
        self._commands.reject(offset)
        rejected = Rejected(federation=head.opened.federation, command=offset, detail=str(fields["detail"]))
        return [Reject(rejected), *self._next()]

    # ------------------------------------------------------------ the records
    def _commit(self, made: Reduced) -> Append:
        round_, head, plan = self.round, self.round.head, self._plan
        assert plan is not None
        fresh = [accepted for accepted in plan.accepted if accepted.base == plan.base]  # what measured its model
        if head.asked is not None:
            missing = set(head.asked) - {accepted.client for accepted in plan.accepted}
            round_.roster.miss(missing, (plan.closed.time_ms - round_.opened_ms) / 1000)
        round_.put_out(head.link.record.seq)  # at the latest: a quick round may have no tick
        return self._append(
            Round,
            round=head.round + 1,
            version=head.version + 1,
            base=plan.base,
            strategy=head.opened.strategy,
            accepted=decided(plan.accepted, made.weighing),
            clients=plan.clients,
            weights=made.weights,
            state=dict(made.state),
            snapshot=round_.snapshot(),
            closed=plan.closed,
            opened_ms=round_.opened_ms,
            writer=self._writer,
            final=head.round + 1 >= head.rules.rounds,
            refused=tuple(round_.refusals.named),
            refused_more=dict(sorted(round_.refusals.more.items())),
            evaluation=weighted([a.report.evaluation for a in fresh if a.report.evaluation]),
            personal=weighted([a.report.personal for a in fresh if a.report.personal]),
        )

    def _finish(self) -> Append:
        head, evaluations, personals = self.round.head, self.round.evaluations, self.round.personals
        return self._append(
            Finished,
            version=head.base.version,
            sha256=head.weights.sha256,
            evaluation=weighted(list(evaluations.values())),
            evaluations=dict(sorted(evaluations.items())),
            personal=weighted(list(personals.values())),
            personals=dict(sorted(personals.items())),
        )

    def _give_up(self, because: str) -> Append:
        round_ = self.round
        missing = ", ".join(sorted(round_.roster.unanswered)) or f"{round_.head.rules.min_clients} clients to join"
        found = f"{len(round_.accepted)} of {round_.quorum} updates"
        return self._append(Failed, detail=f"{because} with {found}; missing: {missing}"[:1000])

    def _append(self, kind: type[Lifecycle], **fields: object) -> Append:
        self.phase, self._plan = Phase.COMMITTING, None
        return Append(successor(self.round.head, kind, fields))
