"""What the platform has signed counts, and nothing else: for every reader of a control topic and of announcements."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import DecodeError
from mainstem.protocol import announcing
from mainstem.protocol.control import ControlReader, ControlTopic, Entry
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Announcement, Changed, Command, Finished, Opened, Rules, Unknown, encode
from mainstem.protocol.signing import HEADER, SigningKey, signed_by
from mainstem.protocol.topics import CONTROL_RECORD_LIMIT, MODEL_CONTROL, control_topic, federation_topics
from mainstem.rounds import successor
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import opened, round_after
from tests.support.signers import FORGER, PLATFORM
from tests.vectors.examples import FEDERATION, sequence

TOPIC = control_topic(FEDERATION)


class Log:
    """A signed run's control topic, to which anybody appends."""

    def __init__(self, platform: str | None = PLATFORM.public) -> None:
        self.log = MemoryLog(SystemClock())
        self.log.create_topics(federation_topics(FEDERATION))
        self.platform = ControlTopic(self.log, FEDERATION, key=PLATFORM)
        self.reader = ControlTopic(self.log, FEDERATION)
        self.platform.append(msgspec.structs.replace(opened(rounds=9), platform=platform))
        self.platform.sync()

    def write(self, record: Any, key: SigningKey | None) -> None:
        """Append a record in the name of whoever has the key."""
        self.log.append(TOPIC, [signed_by(key, TOPIC, Outgoing(encode(record)))])

    def read(self) -> list[Entry]:
        """What a reader makes of it that knows no key beforehand."""
        return self.reader.sync()


# ---------------------------------------------------------------- the control topic
@pytest.mark.parametrize("key", [None, FORGER])
def test_forged_records_take_no_place(key: SigningKey | None) -> None:
    """A commit, an end, a change of rules and a command: each is as one of an unknown type, and said why."""
    log = Log()
    log.read()
    head = log.reader.head
    assert head is not None
    forged = [
        round_after(head),
        successor(head, Finished, {"version": 0, "sha256": head.weights.sha256}),
        successor(head, Changed, {"rules": Rules(rounds=1), "command": 0}),
        Command(federation=FEDERATION, action="stop", id="1"),
    ]
    for record in forged:
        log.write(record, key)
    entries = log.read()
    assert [entry.record for entry in entries] == [
        Unknown(schema=1, type=kind) for kind in ("round", "finished", "changed", "command")
    ]
    assert [entry.forged for entry in entries] == forged
    assert all(PLATFORM.public in (entry.problem or "") for entry in entries)
    assert log.reader.head == head
    log.platform.append(round_after(head))
    assert [entry.problem for entry in log.read()] == [None]
    assert log.reader.head.round == 1


def test_a_long_record_is_signed_as_it_names_its_pages() -> None:
    log = Log()
    log.read()
    head = log.reader.head
    assert head is not None
    long = successor(head, Changed, {"rules": Rules(rounds=1, mode="x" * CONTROL_RECORD_LIMIT), "command": 0})
    forger = ControlTopic(log.log, FEDERATION, key=FORGER)
    forger.append(long)
    assert log.read()[-1].record == Unknown(schema=1, type="paged")
    assert log.reader.head == head
    log.platform.append(long)
    assert log.read()[-1].link is not None


def test_an_opening_is_signed_with_the_key_that_it_names() -> None:
    """Whoever knows the platform takes no other's; who does not is told whose it is."""
    mine = msgspec.structs.replace(opened(), platform=PLATFORM.public)
    theirs = msgspec.structs.replace(opened(), platform=FORGER.public)

    def head_of(record: Opened, key: SigningKey | None, platform: str | None) -> str | None:
        reader = ControlReader(FEDERATION, platform)
        (_, header) = key.sign(TOPIC, encode(record)) if key is not None else ("", b"")
        reader.feed(0, 0, encode(record), {HEADER: header})
        head = reader.chain.head
        return None if head is None else head.opened.platform or "open"

    assert head_of(mine, PLATFORM, None) == PLATFORM.public
    assert head_of(theirs, FORGER, None) == FORGER.public
    assert head_of(opened(), None, None) == "open"
    for record, key, platform in (
        (mine, None, None),
        (mine, FORGER, None),
        (theirs, FORGER, PLATFORM.public),
        (opened(), None, PLATFORM.public),
        (mine, FORGER, PLATFORM.public),
    ):
        assert head_of(record, key, platform) is None


@given(st.lists(st.tuples(st.sampled_from(["round", "finished", "command"]), st.booleans()), max_size=12))
def test_forged_records_change_nothing_wherever_they_stand(said: list[tuple[str, bool]]) -> None:
    """The chain with forged records between is the chain without them."""
    log, plain = Log(), Log()
    for kind, honest in said:
        for each in (log, plain):
            head = each.platform.head
            assert head is not None
            record: Any = {
                "round": round_after(head),
                "finished": successor(head, Finished, {"version": head.base.version, "sha256": head.weights.sha256}),
                "command": Command(federation=FEDERATION, action="stop", id="1"),
            }[kind]
            if honest or each is log:
                each.write(record, PLATFORM if honest else FORGER)
            each.platform.sync()
    log.read(), plain.read()
    assert list(log.reader.hashes) == list(plain.reader.hashes)


# ---------------------------------------------------------------- announcements
def announcement(platform: str | None = PLATFORM.public) -> Announcement:
    """An announcement that names a platform."""
    (example,) = [record for record in sequence() if isinstance(record, Announcement)]
    return msgspec.structs.replace(example, platform=platform)


def read(outgoing: Outgoing, platform: str | None) -> Announcement | None:
    """What a reader takes it for."""
    value = None if outgoing.value is None else bytes(outgoing.value)
    record = Record(MODEL_CONTROL, 0, 0, 0, outgoing.key, value, dict(outgoing.headers))
    return announcing.read(record, platform)[1]


def test_announcements_and_tombstones_of_others_are_not_taken() -> None:
    mine, key = announcement(), PLATFORM.public
    assert read(announcing.announced(mine, PLATFORM), key) == mine
    assert read(announcing.announced(mine, PLATFORM), None) == mine
    assert read(announcing.withdrawn(mine.federation, PLATFORM), key) is None
    theirs = announcing.announced(announcement(FORGER.public), FORGER)
    assert read(theirs, None) == announcement(FORGER.public)
    moved = announcing.withdrawn("other123", PLATFORM)
    for outgoing, platform in (
        (theirs, key),
        (announcing.announced(mine, FORGER), None),
        (announcing.announced(mine), None),
        (announcing.announced(announcement(None)), key),
        (announcing.withdrawn(mine.federation), key),
        (announcing.withdrawn(mine.federation, FORGER), key),
        (Outgoing(None, mine.federation.encode(), moved.headers), key),
    ):
        with pytest.raises(DecodeError, match="not signed with the platform's key"):
            read(outgoing, platform)
