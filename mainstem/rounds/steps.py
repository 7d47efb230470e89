"""The round as a script of steps. A new step is a `Step` here, in its place in `script_of`.

A step takes one type of clients' records, or none, until it is complete; then a lifecycle record commits it and the
round goes on with the clients that the record names, for every reader alike. The last step's record is the round's.

    select     takes nothing, names whom the round asks              -> `selected`   (where `selection` is not `all`)
    update     takes `update`, becomes the next version              -> `round`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mainstem.errors import RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Closed, Lifecycle, Reason, Round, Rules, Selected, Update
from mainstem.rounds import modes
from mainstem.rounds.events import Append, Close, Plan, Seen
from mainstem.rounds.judging import asks, choose, judge
from mainstem.rounds.making import successor
from mainstem.rounds.openround import ClientRecord, OpenRound


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a round; its functions are pure."""

    name: str
    takes: type[ClientRecord] | None
    """The type of the clients' records that it asks for."""
    commit: type[Lifecycle]
    """The type of the record that commits it."""
    admit: Callable[[OpenRound, Seen], None]
    """Judges a record of its type, as far as tensors do not matter; raises RefusedError where it does not count."""
    complete: Callable[[OpenRound], Append | Close | None]
    """What ends it, once it is complete or its deadline has come; None until then."""
    again: Callable[[OpenRound], Append | None] = lambda round_: None
    """The record that takes the place of the one by which it is committed, where the round cannot go on with that."""

    def is_done(self, head: Head) -> bool:
        """Whether the head's round has committed it."""
        return any(isinstance(record, self.commit) for record in head.steps)


def script_of(rules: Rules) -> tuple[Step, ...]:
    """The steps of a round under these rules, in order."""
    return (UPDATE,) if rules.selection.name == "all" else (SELECT, UPDATE)


def step_of(head: Head) -> Step | None:
    """The step that the head's round is at; None where no round is open."""
    if head.ended or head.final:
        return None
    return next(step for step in script_of(head.rules) if not step.is_done(head))


def owed(head: Head, client: str) -> type[ClientRecord] | None:
    """The type of the record that the round waits for from this client, once; None where it waits for nothing."""
    step = step_of(head)
    if step is None or (head.asked is not None and client not in head.asked):
        return None
    return step.takes


def admit(round_: OpenRound, seen: Seen, record: ClientRecord) -> bool:
    """Whether a client's record is something that a step still asks for. Raises RefusedError where it does not count
    there, as far as tensors do not matter.
    """
    head = round_.head
    round_.roster.listen(record.client, record.incarnation)
    round_.roster.touch(record.client, round_.heard_ms)
    step = next((step for step in script_of(head.rules) if step.takes is type(record)), None)
    if step is None or step.is_done(head):
        return False
    step.admit(round_, seen)
    if step is not (current := step_of(head)):
        at = f"is at its step {current.name!r}" if current is not None else "is not open"
        raise RefusedError(Reason.NOT_SELECTED, f"round {head.round + 1} {at}")
    return True


def complete(round_: OpenRound) -> Append | Close | None:
    """What ends the open step, or commits an earlier one again; None while there is more to come."""
    for step in script_of(round_.head.rules):
        if not step.is_done(round_.head):
            return step.complete(round_)
        if (renewed := step.again(round_)) is not None:
            return renewed
    return None


# ---------------------------------------------------------------- select
def _takes_nothing(round_: OpenRound, seen: Seen) -> None:
    raise AssertionError("a step that takes nothing admits nothing")


def _select(round_: OpenRound) -> Append | None:
    """Whom the round asks, first and after a resume."""
    return _choose(round_) if asks(round_.head, round_.policy, round_.roster, round_.time) else None


def _select_more(round_: OpenRound) -> Append | None:
    """At a deadline below quorum, those and others."""
    if not round_.overdue:
        return _select(round_)
    more = round_.head.rules.below_quorum == "extend" and len(round_.accepted) < round_.quorum
    return _choose(round_) if more else None


def _choose(round_: OpenRound) -> Append | None:
    fields = choose(round_.head, round_.policy, round_.roster, round_.time_ms)
    return Append(successor(round_.head, Selected, fields)) if fields else None


SELECT = Step("select", None, Selected, _takes_nothing, _select, again=_select_more)


# ---------------------------------------------------------------- update
def _judge_update(round_: OpenRound, seen: Seen) -> None:
    assert isinstance(seen.record, Update)
    judge(round_.head, round_.policy, round_.roster, seen.offset, seen.record)


def _close(round_: OpenRound) -> Close | None:
    """Everything that was accepted, in the order in which it is reduced."""
    if round_.overdue:  # also where the wait limit has passed: nothing accepted is thrown away
        by = "deadline" if len(round_.accepted) >= round_.quorum else None
    else:
        tally = modes.Tally(len(round_.roster.awaited), len(round_.accepted), round_.quorum)
        by = round_.policy.mode.complete(tally)
    if by is None:
        return None
    chosen = sorted(round_.accepted, key=lambda pair: (pair[0].sha256, pair[0].client, pair[0].base.seq))
    plan = Plan(
        base=round_.head.base,
        accepted=tuple(accepted for accepted, _ in chosen),
        updates=tuple(update for _, update in chosen),
        closed=Closed(by=by, offset=round_.offset, time_ms=round_.time_ms),
        clients=len(round_.roster.active),
    )
    return Close(plan)


UPDATE = Step("update", Update, Round, _judge_update, _close)
