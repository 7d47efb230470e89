"""What the round machine knows, told for people; and what clients say of their end, which decides nothing."""

from __future__ import annotations

import itertools

from mainstem.protocol.messages import (
    ClientFailed,
    ClientRecord,
    Failure,
    Joined,
    Member,
    MemberState,
    Progress,
    Unknown,
)
from mainstem.rounds import OpenRound, Phase, RoundMachine
from mainstem.rounds.membership import NOTES_BYTES, Roster, remark

SHOWN = 1000
"""Members that a progress record names."""

FAILURES = 100
"""Sentences of clients that it has: so bounded, whoever writes to the topic, that the record stays small."""

LONGEST = 500
"""Characters of such a sentence."""


class Failures:
    """Why clients gave up, by client: the newest sentence of each, of the newest clients that said one."""

    def __init__(self) -> None:
        self._said: dict[str, ClientFailed] = {}
        self._position = 0

    def hear(self, offset: int, record: ClientRecord | Unknown | None, roster: Roster) -> None:
        """Take in the next record of the aggregator topic; one that was heard before changes nothing."""
        if offset < self._position:
            return
        self._position = offset + 1
        match record:
            case ClientFailed(client=client):
                self._said.pop(client, None)
                self._said[client] = record
                if len(self._said) > FAILURES:  # a crowd of strangers does not silence a member
                    strangers = (c for c, said in self._said.items() if not roster.speaks(c, said.incarnation))
                    del self._said[next(strangers, next(iter(self._said)))]
            case Joined(client=client, incarnation=incarnation):
                if (said := self._said.get(client)) is not None and said.incarnation != incarnation:
                    del self._said[client]  # it has come back

    def of(self, member: Member) -> str:
        """What this member said when it failed, empty where it has not."""
        said = self._said.get(member.client)
        ended = said is not None and member.status == "failed" and said.incarnation == member.incarnation
        return said.detail[:LONGEST] if said is not None and ended else ""

    def others(self, roster: Roster) -> tuple[Failure, ...]:
        """What was said by those who are no members, or whose place another process has taken; the newest last."""
        return tuple(
            Failure(client=said.client, detail=said.detail[:LONGEST])
            for said in self._said.values()
            if not roster.speaks(said.client, said.incarnation)
        )


def progress_of(machine: RoundMachine, now_ms: int, failures: Failures, trouble: str = "") -> Progress:
    """The machine's state as a progress record. Times of life are left out where they alone have changed.

    `trouble` is what keeps the aggregator itself from going on.
    """
    round_ = machine.round
    head = round_.head
    sent = {accepted.client for accepted, _ in round_.accepted}
    members = round_.roster.members[:SHOWN]
    room = itertools.accumulate((len(member.note.encode()) for member in members), initial=0)
    notes = [member.note if used < NOTES_BYTES else "" for member, used in zip(members, room, strict=False)]
    details = [
        failures.of(member) or remark(member, head.rules, note) for member, note in zip(members, notes, strict=True)
    ]
    return Progress(
        federation=head.opened.federation,
        phase=machine.phase.value,
        round=min(head.round + 1, head.rules.rounds),
        needed=round_.quorum if machine.phase is Phase.OPEN else head.rules.min_clients,
        deadline_ms=round_.deadline_ms,
        members=tuple(
            _state(round_, member, sent, now_ms, detail) for member, detail in zip(members, details, strict=True)
        ),
        refused=tuple(round_.refusals.named[-20:]),
        refused_counts=dict(sorted(round_.refusals.counts.items())),
        failures=failures.others(round_.roster),
        detail=trouble[:LONGEST],
    )


def _state(round_: OpenRound, member: Member, sent: set[str], now_ms: int, detail: str) -> MemberState:
    silent = now_ms - member.last_ms > round_.head.rules.heartbeat_timeout_ms
    if member.status != "active":
        state = member.status
    elif member.client in sent:
        state = "accepted"
    elif silent:
        state = "silent"
    else:
        state = "training" if member.client in round_.roster.expected else "waiting"
    # to ten seconds: a sign of life alone does not make a new record each second
    last_ms = member.last_ms // 10_000 * 10_000
    return MemberState(
        client=member.client,
        state=state,
        awaited=member.client in round_.roster.awaited,
        last_ms=last_ms,
        examples=member.examples,
        detail=detail,
    )
