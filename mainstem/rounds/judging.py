"""Which updates count, and whom a round asks: pure decisions of the round machine."""

from __future__ import annotations

from mainstem.chain import Head
from mainstem.errors import RefusedError
from mainstem.membership import Roster
from mainstem.messages import Member, Reason, Update
from mainstem.policy import Policy
from mainstem.rounds.timing import RoundTime
from mainstem.weights import Limits, check_manifest


def judge(head: Head, policy: Policy, roster: Roster, offset: int, update: Update) -> float:
    """The coefficient of an update whose manifest stands at `offset`, as far as its tensors do not matter.

    Raises RefusedError.
    """
    client = update.client
    policy.mode.admit(head, update.base)
    if head.final:
        raise RefusedError(Reason.CLOSED, "the last round is committed")
    if update.number != 0:
        raise RefusedError(Reason.DUPLICATE, f"it is update {update.number}; one counts for each base, number 0")
    if roster.has_counted(client, update.base):
        raise RefusedError(Reason.DUPLICATE, "an update of this client from this base or a later one counts already")
    if policy.chooser is not None and client not in (head.selected.clients if head.selected else ()):
        raise RefusedError(Reason.NOT_SELECTED, f"round {head.round + 1} does not ask this client")
    if not 1 <= update.examples <= head.rules.max_examples:
        raise RefusedError(Reason.EXAMPLES, f"it claims {update.examples} examples")
    roster.measure(update)
    check_writer(update)
    limits = Limits(nbytes=head.rules.max_update_bytes)
    check_manifest(update.weights, limits, head.opened.weights.tensors, before=offset)
    return policy.coefficient(head, update.base, update.examples)


def check_writer(update: Update) -> None:
    """An update's tensors are its client's own: a copy of another's manifest does not count; raises RefusedError."""
    if update.weights.writer != update.client:
        raise RefusedError(
            Reason.MALFORMED, f"its weights were written by {update.weights.writer[:64]!r}, not by {update.client}"
        )


def asks(head: Head, policy: Policy, roster: Roster, time: RoundTime) -> bool:
    """Whether the open round is to choose whom it asks.

    After a resume it looks who is there then, not who was at some time since the snapshot; and where those whom it
    asked before are enough, it chooses nobody else.
    """
    if policy.chooser is None or (head.resumed and not time.started):
        return False
    if head.selected is None:
        return True
    if not head.resumed or len(roster.active) < head.rules.min_clients:
        return False
    return _reliable(head, roster, time.now_ms) < head.selected.quorum


def choose(head: Head, policy: Policy, roster: Roster, time_ms: int) -> dict[str, object] | None:
    """The fields of the `selected` record that names the round's clients; at a deadline below quorum, or after a
    resume, more of them.

    Those who gave no sign of life lately are asked only where the others are too few, and those who missed too many
    deadlines only where the others are fewer than the quorum. None where nobody is left, and while the members are
    fewer than the quorum: a choice among them could not meet it.
    """
    assert policy.chooser is not None
    rules, asked = head.rules, head.selected.clients if head.selected else ()
    members = [member for member in roster.members if member.status == "active" and member.client not in asked]
    needed = head.selected.quorum if head.selected else rules.quorum or 1
    kept = _reliable(head, roster, time_ms) if head.resumed else 0  # at a deadline nobody asked can be relied on
    counting = kept if head.resumed else len(asked)
    if not members or len(members) + counting < needed:
        return None
    awake = [member for member in members if not roster.is_given_up(member)]
    members = awake if awake and len(awake) + counting >= needed else members
    number = max(policy.chooser.number(len(members) + kept), needed) - kept
    present = [member for member in members if _is_present(member, head, time_ms)]
    seed = f"{head.opened.training.seed}/{head.round + 1}/{len(asked)}"
    chosen = policy.chooser.choose(present if len(present) >= number else members, number, seed)
    quorum = head.selected.quorum if head.selected else rules.quorum or min(policy.mode.quorum, len(chosen))
    return {"round": head.round + 1, "clients": (*asked, *chosen), "quorum": quorum}


def _reliable(head: Head, roster: Roster, time_ms: int) -> int:
    """How many of those whom the round asked have an update that counts, or can be expected to send one."""
    asked = map(roster.get, head.selected.clients if head.selected else ())
    return sum(m is not None and (m.counted == head.base.seq or _is_present(m, head, time_ms)) for m in asked)


def _is_present(member: Member, head: Head, time_ms: int) -> bool:
    return member.status == "active" and member.last_ms >= time_ms - head.rules.heartbeat_timeout_ms
