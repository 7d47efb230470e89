"""The roster: who is in, who is waited for, who is gone."""

from __future__ import annotations

import msgspec
import pytest

from mainstem.errors import RefusedError
from mainstem.protocol.messages import Base, ClientFailed, Heartbeat, Joined, Left, Member, Reason, Update
from mainstem.rounds.membership import REMEMBERED, Roster
from tests.support.chains import weights

BASE = Base(seq=0, version=0)


def joined(client: str, incarnation: str = "1", examples: int = 5) -> Joined:
    """A client's first record."""
    return Joined(federation="ddy6heod", client=client, incarnation=incarnation, examples=examples)


def update(client: str, incarnation: str, examples: int) -> Update:
    """Its update from the first model."""
    return Update(
        client=client, incarnation=incarnation, base=BASE, number=0, examples=examples, weights=weights("e" * 64)
    )


def test_members_are_ordered_by_id_whatever_the_order_of_joining() -> None:
    """A snapshot is the same bytes for the same members."""
    a, b = Roster(), Roster()
    for offset, client in enumerate("cab"):
        a.join(joined(client), offset, 7)
    for offset, client in ((1, "a"), (2, "b"), (0, "c")):
        b.join(joined(client), offset, 7)
    assert a.members == b.members == Roster(a.members).members
    assert [m.client for m in a.members] == ["a", "b", "c"]


def test_a_life() -> None:
    """Join, signs of life, an end; then a return, for which the earlier incarnation's words no longer count."""
    roster = Roster()
    roster.join(joined("a"), 3, 10)
    roster.expect(BASE)
    assert roster.expected == roster.awaited == {"a"} and roster.speaks("a", "1") and not roster.speaks("b", "1")
    roster.hear(Heartbeat(client="a", incarnation="1", phase="training"), 20)
    roster.touch("a", 25)
    assert roster.members == (Member(client="a", incarnation="1", joined=3, examples=5, last_ms=25),)
    roster.hear(ClientFailed(client="a", incarnation="1", detail="x"), 30)
    assert not roster.active and not roster.awaited and roster.expected == {"a"}
    roster.join(joined("a", "2", 9), 8, 40)
    with pytest.raises(RefusedError, match="another process has taken over the client id at offset 8") as refused:
        roster.listen("a", "1")
    assert refused.value.reason == Reason.SUPERSEDED
    roster.listen("a", "2")
    back = Member(client="a", incarnation="2", joined=8, examples=9, last_ms=40, superseded=("1",))
    assert roster.members == (back,) and roster.active == roster.awaited == {"a"}
    roster.count(update("a", "2", 9))
    assert roster.active == {"a"} and not roster.awaited
    roster.hear(Left(client="a", incarnation="2"), 60)
    assert not roster.active


def test_a_takeover_is_for_good() -> None:
    """What another process has taken over from cannot take over in turn; only the newest are remembered."""
    roster = Roster()
    for number in range(12):
        roster.join(joined("a", str(number)), number, 10)
    before = roster.members
    with pytest.raises(RefusedError, match="taken over"):
        roster.join(joined("a", "10"), 12, 20)
    assert roster.members == before and before[0].superseded == tuple(str(n) for n in range(3, 11))
    assert REMEMBERED == 8
    with pytest.raises(RefusedError, match="incarnation 'x' has not joined") as refused:
        roster.listen("a", "x")
    assert refused.value.reason == Reason.UNKNOWN_CLIENT


def test_examples_are_what_the_client_said() -> None:
    """Of a growing stream they only grow, and the member follows; any other client says `joined` again."""
    roster = Roster()
    roster.join(joined("a", examples=288), 0, 10)
    for other in (287, 289):
        with pytest.raises(RefusedError, match=f"claims {other} examples, its client said 288: say `joined` again"):
            roster.measure(update("a", "1", other))
    roster.measure(update("a", "1", 288))
    roster.join(joined("a", examples=300), 1, 20)
    roster.measure(update("a", "1", 300))
    roster.join(msgspec.structs.replace(joined("a", examples=300), growing=True), 2, 30)
    roster.measure(update("a", "1", 320))
    roster.count(update("a", "1", 320))
    assert [(m.examples, m.growing, m.superseded) for m in roster.members] == [(320, True, ())]
    with pytest.raises(RefusedError, match="claims 300 examples, its client said 320: its stream grows, never shrinks"):
        roster.measure(update("a", "1", 300))


def test_a_successor_expects_nobody_until_its_round_opens() -> None:
    """Who is awaited is decided when the round opens, from the members alone."""
    roster = Roster(
        [Member(client="a", incarnation="1", joined=0), Member(client="b", incarnation="1", joined=1, status="left")]
    )
    assert roster.expected == frozenset()
    roster.expect(BASE)
    assert roster.expected == {"a"}
