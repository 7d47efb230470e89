"""The roster: who is in, who is waited for, who is gone."""

from __future__ import annotations

from mainstem.membership import Roster
from mainstem.messages import Base, ClientFailed, Heartbeat, Joined, Left, Member

BASE = Base(seq=0, version=0)


def joined(client: str, incarnation: str = "1", examples: int = 5) -> Joined:
    """A client's first record."""
    return Joined(federation="ddy6heod", client=client, incarnation=incarnation, examples=examples)


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
    assert roster.expected == roster.awaited == {"a"} and roster.knows("a") and not roster.knows("b")
    roster.hear(Heartbeat(client="a", incarnation="1", phase="training"), 20)
    roster.touch("a", 25)
    assert roster.members == (Member(client="a", incarnation="1", joined=3, examples=5, last_ms=25),)
    roster.hear(ClientFailed(client="a", incarnation="1", detail="x"), 30)
    assert not roster.active and not roster.awaited and roster.expected == {"a"}
    roster.join(joined("a", "2", 9), 8, 40)
    roster.hear(Left(client="a", incarnation="1"), 50)
    assert roster.members == (Member(client="a", incarnation="2", joined=8, examples=9, last_ms=50),)
    assert roster.active == roster.awaited == {"a"}
    roster.count("a", BASE, 0.0)
    assert roster.active == {"a"} and not roster.awaited
    roster.hear(Left(client="a", incarnation="2"), 60)
    assert not roster.active


def test_a_successor_expects_nobody_until_its_round_opens() -> None:
    """Who is awaited is decided when the round opens, from the members alone."""
    roster = Roster(
        [Member(client="a", incarnation="1", joined=0), Member(client="b", incarnation="1", joined=1, status="left")]
    )
    assert roster.expected == frozenset()
    roster.expect(BASE)
    assert roster.expected == {"a"}
