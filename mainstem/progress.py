"""What the round machine knows, told for people."""

from __future__ import annotations

import itertools
from collections import Counter

from mainstem.messages import Member, MemberState, Progress
from mainstem.rounds import RoundMachine

SHOWN = 1000
"""Members that a progress record names."""

NOTES_BYTES = 200_000
"""Of what members say of their data: beyond that they are not repeated, whoever joins."""


def progress_of(machine: RoundMachine, now_ms: int) -> Progress:
    """The machine's state as a progress record. Times of life are left out where they alone have changed."""
    head = machine.head
    assert head is not None
    sent = {accepted.client for accepted, _ in machine.accepted}
    counts = Counter(refusal.reason for refusal in machine.refused) + machine.refused_more
    members = machine.roster.members[:SHOWN]
    room = itertools.accumulate((len(member.note.encode()) for member in members), initial=0)
    notes = [member.note if used < NOTES_BYTES else "" for member, used in zip(members, room, strict=False)]
    states = tuple(_state(machine, *told, sent, now_ms) for told in zip(members, notes, strict=True))
    return Progress(
        federation=head.opened.federation,
        phase=machine.phase,
        round=min(head.round + 1, head.rules.rounds),
        needed=machine.quorum if machine.phase == "open" else head.rules.min_clients,
        deadline_ms=machine.deadline_ms,
        members=states,
        refused=tuple(machine.refused[-20:]),
        refused_counts=dict(sorted(counts.items())),
    )


def _state(machine: RoundMachine, member: Member, note: str, sent: set[str], now_ms: int) -> MemberState:
    assert machine.head is not None
    silent = now_ms - member.last_ms > machine.head.rules.heartbeat_timeout_ms
    if member.status != "active":
        state = member.status
    elif member.client in sent:
        state = "accepted"
    elif silent:
        state = "silent"
    else:
        state = "training" if member.client in machine.roster.expected else "waiting"
    # to ten seconds: a sign of life alone does not make a new record each second
    last_ms = member.last_ms // 10_000 * 10_000
    return MemberState(
        client=member.client,
        state=state,
        awaited=member.client in machine.roster.awaited,
        last_ms=last_ms,
        examples=member.examples,
        detail=note,
    )
