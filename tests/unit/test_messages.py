"""Records are exact through JSON, bounded, and never raise anything but our errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mainstem.errors import DecodeError
from mainstem.protocol.messages import (
    Announcement,
    Audited,
    Heartbeat,
    Joined,
    Left,
    Lifecycle,
    Paged,
    Unknown,
    Update,
    decode_announcement,
    decode_audited,
    decode_client,
    decode_control,
    decode_paged,
    encode,
    grammar,
)
from mainstem.protocol.messages.grammar import GrammarError
from tests.vectors.examples import sequence

CLIENTS = ("joined", "heartbeat", "update", "client_failed", "left", "tick")
DECODERS: tuple[Callable[[bytes | None], Any], ...] = (decode_client, decode_control, decode_announcement)


def decoder_of(record: msgspec.Struct) -> Callable[[bytes | None], Any]:
    """The decoder of the topic on which a record of this type stands."""
    if isinstance(record, Announcement):
        return decode_announcement
    if isinstance(record, Audited):
        return decode_audited
    return decode_client if type(record).__struct_config__.tag in CLIENTS else decode_control


@pytest.mark.parametrize("record", sequence(), ids=lambda r: type(r).__name__)
def test_round_trip(record: msgspec.Struct) -> None:
    """Every record type comes back equal, and gives the same bytes again."""
    back = decoder_of(record)(encode(record))
    assert back == record
    assert encode(back) == encode(record)


@pytest.mark.parametrize("record", sequence(), ids=lambda r: type(r).__name__)
def test_unknown_fields_are_ignored_and_unknown_schemas_refused(record: msgspec.Struct) -> None:
    """A later minor version may add fields; another schema is refused with its number."""
    body = json.loads(encode(record))
    assert body["schema"] == 1 and isinstance(body["type"], str)
    assert decoder_of(record)(json.dumps(body | {"new_field": [1, {"x": None}]}).encode()) == record
    with pytest.raises(DecodeError, match="schema 2 is not known"):
        decoder_of(record)(json.dumps(body | {"schema": 2}).encode())
    with pytest.raises(DecodeError, match="schema"):
        decoder_of(record)(json.dumps({k: v for k, v in body.items() if k != "schema"}).encode())


@pytest.mark.parametrize("decode", [decode_client, decode_control], ids=["client", "control"])
def test_an_unknown_type_is_ignored_unless_it_would_take_a_place_in_the_chain(decode: Callable[[bytes], Any]) -> None:
    """A later minor version may add types of records, but none of the chain, which all readers must see alike."""
    body = {"schema": 1, "type": "hello", "client": [1], "seq": 7}
    assert decode(json.dumps(body).encode()) == Unknown(schema=1, type="hello")
    with pytest.raises(DecodeError, match="hello"):
        decode(json.dumps(body | {"prev": ""}).encode())
    with pytest.raises(DecodeError, match="schema 2 is not known"):
        decode(json.dumps(body | {"schema": 2}).encode())
    with pytest.raises(DecodeError):
        decode(b'{"schema":1,"type":"finished"}')
    with pytest.raises(DecodeError, match="hello"):
        decode_announcement(json.dumps(body).encode())


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
@example(b"[" * 100_000)
@example(b'{"schema":1,"type":"tick","writer":' + b"[" * 100_000)
@example(b'{"schema":' + b"9" * 100_000 + b"}")
@example(b'{"schema":1,"type":"joined","client":"\\ud800"}')
@example(b'{"schema":1,"type":"joined","client":"\xed\xa0\x80"}')
@example(b'{"schema":1,"type":"paged"}')
def test_arbitrary_bytes(value: bytes) -> None:
    """Whatever stands in a topic, decoding raises DecodeError or nothing."""
    for decode in DECODERS:
        with pytest.raises(DecodeError):
            decode(value)


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
).map(lambda found: json.dumps({"schema": 1, "type": "tick", "writer": "w", "x": found}, ensure_ascii=False))


@given(JSON_TEXT)
def test_the_grammar_is_that_of_strict_json(text: str) -> None:
    """What strict readers agree on is taken, and nothing else: numbers in their bounds, at most 64 deep."""
    found = json.loads(text)

    def fine(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(fine, value.values()))
        if isinstance(value, list):
            return all(map(fine, value))
        if isinstance(value, int) and not isinstance(value, bool):
            return -(1 << 53) < value < 1 << 53
        return not isinstance(value, float) or math.isfinite(value)

    # also as our own encoder writes it, which is judged faster
    values = [text.encode(), json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()]
    for value in values:
        if fine(found):
            decode_client(value)
        else:
            with pytest.raises(DecodeError):
                decode_client(value)


@given(st.sampled_from(sequence()), st.data())
def test_a_record_of_ours_with_a_byte_changed_is_judged_alike(record: msgspec.Struct, data: st.DataObject) -> None:
    """The fast judgement of what our encoder writes takes nothing that the slow one refuses."""
    value = bytearray(encode(record))
    grammar.check(bytes(value))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    assert refused(grammar.check, bytes(value)) == refused(grammar._check_slowly, bytes(value))


def refused(judge: Callable[[bytes], None], value: bytes) -> bool:
    """Whether it is none of our records."""
    try:
        judge(value)
    except GrammarError:
        return True
    return False


@pytest.mark.parametrize("opening", ["[", '{"a":', '["]",', '[ "\\"]", '])
def test_depth_counts_brackets_outside_of_strings(opening: str) -> None:
    """64 levels are taken and 65 are not, whatever stands in strings between them."""
    closing = "}" if opening.startswith("{") else "]"
    for levels, fine in ((63, True), (64, False), (5000, False)):
        value = '{"schema":1,"type":"tick","writer":"w","x":' + opening * levels + "1" + closing * levels + "}"
        if fine:
            decode_client(value.encode())
        else:
            with pytest.raises(DecodeError, match="nests more than 64 deep"):
                decode_client(value.encode())


def test_sizes_are_bounded() -> None:
    """A record beyond 8 MiB is refused before it is parsed; text that stood in pages may be longer."""
    tick = b'{"schema":1,"type":"tick","writer":"w"' + b" " * (8 << 20) + b"}"
    with pytest.raises(DecodeError, match="8,388,608"):
        decode_client(tick)
    failed = b'{"schema":1,"type":"failed","federation":"f","seq":1,"prev":"","detail":""' + b" " * (8 << 20) + b"}"
    with pytest.raises(DecodeError, match="8,388,608"):
        decode_control(failed)
    assert decode_paged(failed).schema == 1


@given(st.data())
def test_mutated_records(data: st.DataObject) -> None:
    """A real record with any of its values replaced is decoded, or refused with DecodeError; never worse."""
    body = json.loads(encode(data.draw(st.sampled_from(sequence()))))
    place: Any = body
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    odd: st.SearchStrategy[Any] = st.sampled_from(
        [-1, 2**60, 2**70, 10**4000, 1e308, "", "O", ",f4", "x" * 10**5, None, True, [], {}, [[0, 0, 2**60]]]
    )
    place[key] = data.draw(odd | st.integers() | st.text(max_size=5))
    value = json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode(errors="surrogatepass")
    for decode in DECODERS:
        try:
            record = decode(value)
        except DecodeError:
            continue
        assert decode(encode(record)) == record


def test_null_value() -> None:
    """A tombstone where a record was expected is refused."""
    for decode in DECODERS:
        with pytest.raises(DecodeError, match="empty"):
            decode(None)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("client", ""),
        ("client", "a" * 65),
        ("client", "a b"),
        ("client", "a\n"),
        ("client", "\0"),
        ("client", "é"),
        ("incarnation", ""),
        ("incarnation", "x" * 129),
        ("examples", -1),
        ("examples", 2**53),
        ("examples", 10**4000),
        ("number", -1),
        ("number", 2**70),
        ("base", {"seq": -1, "version": 0}),
        ("report", {"training": {"examples": 10**30}}),
        ("report", {"training": {"examples": 1, "values": {"loss": 1e201}}}),
        ("report", {"training": {"examples": 1, "values": {"loss": None}}}),
        ("report", {"training": {"examples": 1, "values": {str(i): 0.0 for i in range(257)}}}),
    ],
)
def test_bounds_of_an_update(field: str, bad: object) -> None:
    """What a client may fill is bounded, so that it can neither swell nor poison the aggregator's own records."""
    (update,) = [r for r in sequence() if isinstance(r, Update)]
    with pytest.raises(DecodeError, match=rf"\$\.{field}|beyond the integers"):
        decode_client(json.dumps(json.loads(encode(update)) | {field: bad}).encode())


@settings(max_examples=50)
@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.integers(0, 2**53 - 1), st.floats(0, 1))
def test_client_records_of_any_value(client: str, count: int, share: float) -> None:
    """Every allowed value goes through."""
    for record in (
        Joined(federation="ddy6heod", client=client, incarnation="1", examples=count),
        Heartbeat(client=client, incarnation="1", phase="training", base=count, progress=share),
        Left(client=client, incarnation="1", version=count),
    ):
        assert decode_client(encode(record)) == record


def test_lifecycle_records_of_the_examples_form_a_chain() -> None:
    """The golden examples name one another's hashes as the protocol says."""
    chain = [r for r in sequence() if isinstance(r, Lifecycle) and not isinstance(r, Paged)]
    assert [r.seq for r in chain] == list(range(10))
