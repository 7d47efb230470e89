"""A witness takes every log that goes on from the witnessed one, and no other."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import DecodeError
from mainstem.protocol.control import ControlReader
from mainstem.protocol.messages import encode
from mainstem.protocol.witness import (
    Acceptance,
    Statement,
    Witness,
    decode_statement,
    holds,
    objection_to,
    witness_of,
)
from tests.support.chains import Topic, opened, round_after
from tests.vectors.examples import FEDERATION


def hashes_of(topic: Topic) -> list[str]:
    """The sha256 of the chain's records as a reader finds them."""
    reader = ControlReader(FEDERATION)
    for offset, (value, time_ms) in enumerate(topic.values):
        reader.feed(offset, time_ms, value)
    return reader.chain.hashes


def log(writers: str) -> Topic:
    """A log with a round of each writer, and after each a record that takes no place in the chain."""
    topic = Topic()
    topic.append(opened(rounds=99))
    for writer in writers:
        record = round_after(topic.head(), writer)
        topic.append(record)
        topic.append(msgspec.structs.replace(record, writer="late"))
    return topic


WRITERS = st.text("0123456789abcdef", max_size=6)


@given(before=WRITERS, after=WRITERS, other=WRITERS)
def test_whatever_goes_on_is_held_and_nothing_else(before: str, after: str, other: str) -> None:
    """Whatever is appended; whatever is cut off at the end; whatever stands in the place of the end."""
    witnessed, later = hashes_of(log(before)), hashes_of(log(before + after))
    witness = witness_of(witnessed)
    assert witness is not None and witness.count == len(before) + 1
    assert later[: len(witnessed)] == witnessed and holds(later, witness)
    assert objection_to(FEDERATION, later, witness) == ""
    for end in range(len(witnessed)):
        said = objection_to(FEDERATION, witnessed[:end], witness)
        assert f"has lost its tail: it ends after {end} lifecycle record" in said and str(witness) in said
    changed = hashes_of(log(other))
    assert holds(changed, witness) == other.startswith(before)
    if len(other) >= len(before) and not other.startswith(before):
        assert "has another tail than was witnessed" in objection_to(FEDERATION, changed, witness)


@given(writers=st.text("0123456789abcdef", min_size=1, max_size=4), data=st.data())
def test_no_byte_of_the_witnessed_log_changes_unseen(writers: str, data: st.DataObject) -> None:
    """A byte of a record, or a record that is missing: the chain is another one, up to its very first record."""
    topic = log(writers)
    witness = witness_of(hashes_of(topic))
    assert witness is not None
    at = 2 * data.draw(st.integers(1, len(writers))) - 1  # a record of the chain
    value, time_ms = topic.values[at]
    byte = data.draw(st.integers(0, len(value) - 1))
    with_another = value[:byte] + bytes([value[byte] ^ 1]) + value[byte + 1 :]
    for changed in ([(with_another, time_ms)], []):
        altered = Topic([*topic.values[:at], *changed, *topic.values[at + 1 :]])
        if not changed:
            del altered.values[at]  # what another writer had there would take its place
        assert not holds(hashes_of(altered), witness)


def test_nothing_was_witnessed() -> None:
    """Then nothing can be said against a log."""
    assert witness_of([]) is None and objection_to(FEDERATION, [], None) == ""
    assert objection_to(FEDERATION, [], Witness(count=1, hash="a" * 64)).startswith(
        f"the log of federation {FEDERATION} has lost its tail: it ends after 0 lifecycle records, and "
        f"1 lifecycle record, the last with sha256 {'a' * 64} were witnessed"
    )


def test_a_statement_is_what_it_was() -> None:
    """Written and read again; and no other file is taken for one."""
    end = Witness(count=3, hash="a" * 64)
    given = Acceptance(number=1, accepted=end, witnessed=None, by="ada", why="because", time_ms=7)
    statement = Statement(federation=FEDERATION, witness=end, acceptances=(given,))
    assert decode_statement(encode(statement)) == statement
    whole = msgspec.to_builtins(statement)
    for change in (
        {"schema": 2}, {"format": "other"}, {"federation": "x"}, {"witness": {"count": 0, "hash": "a" * 64}},
        {"witness": {"count": 1, "hash": "A" * 64}}, {"witness": None},
    ):  # fmt: skip
        with pytest.raises(DecodeError, match="it is no witness"):
            decode_statement(msgspec.json.encode(whole | change))
    for text in (b"", b"\xff", b"[" * 100_000):
        with pytest.raises(DecodeError, match="it is no witness"):
            decode_statement(text)
