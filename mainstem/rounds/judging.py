"""Which updates count, and whom a round asks: pure decisions of the round machine."""

from __future__ import annotations

from mainstem.errors import RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import check_update
from mainstem.protocol.messages import Member, Reason, Update
from mainstem.rounds.membership import Roster
from mainstem.rounds.policy import Policy
from mainstem.rounds.timing import RoundTime


def judge(head: Head, policy: Policy, roster: Roster, offset: int, update: Update) -> None:
    """Whether an update counts whose manifest stands at `offset`, as far as its tensors do not matter.

    Raises RefusedError where it does not.
    """
    client = update.client
    policy.mode.admit(head, update.base)
    if head.final:
        raise RefusedError(Reason.CLOSED, "the last round is committed")
    if update.number != 0:
        raise RefusedError(Reason.DUPLICATE, f"it is update {update.number}; one counts for each base, number 0")
    if roster.has_counted(client, update.base):
        raise RefusedError(Reason.DUPLICATE, "an update of this client from this base or a later one counts already")
    asked = () if policy.chooser is not None and head.selected is None else head.asked
    if asked is not None and client not in asked:
        raise RefusedError(Reason.NOT_SELECTED, f"round {head.round + 1} does not ask this client")
    if not 1 <= update.examples <= head.rules.max_examples:
        raise RefusedError(Reason.EXAMPLES, f"it claims {update.examples} examples")
    roster.measure(update)
    policy.check_claim(head, update)
    check_update(update, policy.exchange, head.rules.max_update_bytes, before=offset)


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
    needed = head.selected.quorum if head.selected else max(rules.quorum or 1, policy.strategy.least)
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
    quorum = max(needed, needed if head.selected else rules.quorum or min(policy.mode.quorum, len(chosen)))
    return {"round": head.round + 1, "clients": (*asked, *chosen), "quorum": quorum}


def _reliable(head: Head, roster: Roster, time_ms: int) -> int:
    """How many of those whom the round asked have an update that counts, or can be expected to send one."""
    asked = map(roster.get, head.selected.clients if head.selected else ())
    return sum(m is not None and (m.counted == head.base.seq or _is_present(m, head, time_ms)) for m in asked)


def _is_present(member: Member, head: Head, time_ms: int) -> bool:
    return member.status == "active" and member.last_ms >= time_ms - head.rules.heartbeat_timeout_ms
