"""Which updates count, and whom a round asks: pure decisions of the round machine."""

from __future__ import annotations

from mainstem.chain import Head
from mainstem.errors import RefusedError
from mainstem.membership import Roster
from mainstem.messages import Reason, Update
from mainstem.policy import Policy
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
    limits = Limits(nbytes=head.rules.max_update_bytes)
    check_manifest(update.weights, limits, head.opened.weights.tensors, before=offset)
    return policy.coefficient(head, update.base, update.examples)


def choose(head: Head, policy: Policy, roster: Roster, time_ms: int) -> dict[str, object] | None:
    """The fields of the `selected` record that names the round's clients; at a deadline below quorum, more of them.

    Those who gave no sign of life lately are asked only where the others are too few. None where nobody is left, and
    while the members are fewer than the quorum: a choice among them could not meet it.
    """
    assert policy.chooser is not None
    rules, asked = head.rules, head.selected.clients if head.selected else ()
    members = [member for member in roster.members if member.status == "active" and member.client not in asked]
    if not members or len(members) + len(asked) < (rules.quorum or 1):
        return None
    number = max(policy.chooser.number(len(members)), rules.quorum or 1)
    present = [member for member in members if member.last_ms >= time_ms - rules.heartbeat_timeout_ms]
    seed = f"{head.opened.training.seed}/{head.round + 1}/{len(asked)}"
    chosen = policy.chooser.choose(present if len(present) >= number else members, number, seed)
    quorum = head.selected.quorum if head.selected else rules.quorum or min(policy.mode.quorum, len(chosen))
    return {"round": head.round + 1, "clients": (*asked, *chosen), "quorum": quorum}
