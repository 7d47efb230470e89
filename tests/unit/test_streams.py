"""Kafka-ML's announcements of data streams: what is read, what fits, what is refused."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainstem.errors import ConfigError, DecodeError
from mainstem.protocol.messages import Announcement, Data, InputSpec, Topics
from mainstem.streams.announcement import DataAnnouncement, StreamRange, misfit, parse_ranges

BODY: dict[str, Any] = {
    "topic": "digits:0:0:500",
    "input_format": "RAW",
    "input_config": {"data_type": "float32", "data_reshape": "28 28", "label_type": "float32", "label_reshape": "10"},
    "description": "three clients",
    "dataset_restrictions": '{"site": "north"}',
    "validation_rate": 0.1,
    "test_rate": 0,
    "total_msg": 500,
}

names = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(lambda name: name not in (".", ".."))


def decode(key: bytes | None = None, **changes: Any) -> DataAnnouncement:
    """The example announcement with changes."""
    return DataAnnouncement.decode(key, json.dumps(BODY | changes).encode())


def federation(restriction: Any = None, min_data: int = 1, shape: tuple[int, ...] = (28, 28)) -> Announcement:
    """An open federation."""
    return Announcement(
        federation="ddy6heod",
        name="digits",
        revision=1,
        framework="tf",
        input=InputSpec(shape=shape),
        data=Data(min_data=min_data, restriction=restriction),
        min_clients=1,
        max_clients=3,
        topics=Topics(control="c", data="d", aggregator="a"),
    )


@given(
    st.lists(st.tuples(names, st.integers(0, 5), st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=5)
)
def test_ranges_round_trip(parts: list[tuple[str, int, int, int]]) -> None:
    """Ranges that do not overlap come back as they were written."""
    ranges = tuple(StreamRange(name, p, start, start + count) for name, p, start, count in parts)
    text = ",".join(map(str, ranges))
    clear = not any(
        a.topic == b.topic
        and a.partition == b.partition
        and max(a.start or 0, b.start or 0) < min(a.end or 0, b.end or 0)
        for i, a in enumerate(ranges)
        for b in ranges[:i]
    )
    if clear:
        assert parse_ranges(text) == ranges
    else:
        with pytest.raises(ConfigError, match="twice"):
            parse_ranges(text)


@given(st.text(st.sampled_from("ab:,0123456789 .-\n"), max_size=30) | st.text(max_size=20))
def test_arbitrary_ranges(text: str) -> None:
    """Any other text raises ConfigError."""
    try:
        assert parse_ranges(text)
    except ConfigError:
        return


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "topic name"),
        ("t:0", "must read"),
        ("t:0:1:2:3", "must read"),
        ("t:x:0:1", "must read"),
        ("t:0:-1:5", "must read"),
        ("t:0:5:5", "only empty ranges"),
        ("t:0:5:5,u:0:0:0", "only empty ranges"),
        ("t:0:6:5", "before it starts"),
        ("t:0:0:5,t:0:4:6", "twice"),
        ("t:0:0:5,t", "twice"),
        ("t:1:0,t:1:9:12", "twice"),
        ("t,t", "twice"),
        ("t t", "topic name"),
        ("t:0:0:" + "9" * 5000, "must read"),
    ],
)
def test_bad_ranges(text: str, word: str) -> None:
    """Each mistake is said."""
    with pytest.raises(ConfigError, match=word):
        parse_ranges(text)


def test_many_ranges_are_judged_quickly() -> None:
    """A megabyte of ranges takes no more than moments."""
    text = ",".join(f"t:0:{2 * i}:{2 * i + 1}" for i in range(50_000))
    began = time.process_time()
    assert len(parse_ranges(text)) == 50_000
    with pytest.raises(ConfigError, match="twice"):
        parse_ranges(text + ",t:0:7:9")
    assert time.process_time() - began < 3


def test_open_and_bare_ranges() -> None:
    """A bare name has no offsets, an open range no end; several partitions and topics stand side by side."""
    assert parse_ranges("t") == (StreamRange("t"),)
    assert parse_ranges("t:1:5, t:0:0:3,u") == (StreamRange("t", 1, 5), StreamRange("t", 0, 0, 3), StreamRange("u"))
    assert parse_ranges("t:0:0:3,t:1:0:0") == (StreamRange("t", 0, 0, 3),)
    assert StreamRange("t", 0, 3, 8).count == 5 and StreamRange("t").count is None


def test_kafka_ml_message() -> None:
    """The message as Kafka-ML's sinks send it, with the deployment's id as a key of any width, which means nobody."""
    for key in (b"\x07", (7).to_bytes(4, "big"), (300).to_bytes(8, "big"), b"1", b"", None):
        said = decode(key, total_msg=500)
        assert said.federation is None and misfit(said, federation({"site": "north"})) is None
        assert said.restrictions == {"site": "north"}
        assert (said.validation_rate, said.test_rate, said.total_msg, said.incremental) == (0.1, 0.0, 500, False)
        assert said.ranges == (StreamRange("digits", 0, 0, 500),)
    assert decode(dataset_restrictions={"site": "north"}).restrictions == {"site": "north"}
    assert decode(input_config=json.dumps(BODY["input_config"])).input_config == BODY["input_config"]
    assert decode(topic="live", incremental=True, total_msg=None, input_format="raw").input_format == "RAW"


@given(st.binary(max_size=200), st.none() | st.binary(max_size=20))
@example(b"[" * 100_000, None)
@example(b'{"total_msg":' + b"9" * 5000 + b"}", b"")
def test_arbitrary_bytes(value: bytes, key: bytes | None) -> None:
    """Whatever is announced, reading it raises DecodeError or nothing."""
    with pytest.raises(DecodeError):
        DataAnnouncement.decode(key, value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*sorted(BODY), "incremental", "unsupervised_topic"]), json_values)
@example("input_config", {"data_reshape": float("inf")})
@example("input_config", {"data_reshape": [1e308]})
@example("input_config", {"data_reshape": [[1]]})
@example("input_config", {"data_reshape": [28.5, 28]})
@example("input_config", {"data_reshape": "9" * 5000})
@example("input_config", {"data_reshape": 10**4000})
def test_any_value_of_any_field(field: str, value: Any) -> None:
    """Each field with any JSON value is read, or refused with DecodeError; matching gives a sentence or None."""
    try:
        said = decode(**{field: value})
    except DecodeError:
        return
    reason = misfit(said, federation({"site": "north"}))
    assert reason is None or reason.startswith(("its ", "it "))


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 990, 1100, 50_000])
def test_deep_json(depth: int) -> None:
    """JSON of any depth raises DecodeError or is stored."""
    for field in ("total_msg", "input_config", "dataset_restrictions", "validation_rate"):
        value = json.dumps(BODY | {field: 0}).replace(f'"{field}": 0', f'"{field}": {"[" * depth}{"]" * depth}')
        try:
            said = DataAnnouncement.decode(None, value.encode())
        except DecodeError:
            continue
        assert field == "dataset_restrictions"
        assert misfit(said, federation())


@pytest.mark.parametrize("value", ["a", "0", "-1", [1.5], [True], None, {}, "1 " * 40, "9" * 30, [2**31, 2], 1e999])
def test_what_is_no_shape(value: Any) -> None:
    """A RAW stream without a readable shape fits nothing, and the sentence says so."""
    assert "data_reshape" in (misfit(decode(input_config={"data_reshape": value}), federation({"site": "north"})) or "")


def test_matching() -> None:
    """Kafka-ML's rule: the shape, the restrictions as JSON, and enough records unless they go on coming."""
    said = decode()
    assert misfit(said, federation({"site": "north"}, 500)) is None
    assert "at least 501" in (misfit(said, federation({"site": "north"}, 501)) or "")
    assert "restriction" in (misfit(said, federation(None)) or "")
    assert "input shape" in (misfit(said, federation({"site": "north"}, 1, (784,))) or "")
    live = decode(topic="live", incremental=True, total_msg=None)
    assert misfit(live, federation({"site": "north"}, 10**6)) is None
    assert misfit(decode(dataset_restrictions=""), federation({})) is None


def test_text_names_one_federation_and_no_other() -> None:
    """Whether there is one of that id or not: a typo trains nobody, it does not train everybody."""
    assert misfit(decode(b"ddy6heod"), federation({"site": "north"})) is None
    for key in (b"fedaaaaa", b"DDY6HEOD", b"ddy6heod "):
        assert "is addressed to federation" in (misfit(decode(key), federation({"site": "north"})) or "")


def test_what_can_be_read_counts() -> None:
    """Of exact ranges, once they were counted: neither more nor less than that, whatever was announced."""
    said = dataclasses.replace(decode(total_msg=500), readable=380)
    assert "380 records that can be read" in (misfit(said, federation({"site": "north"}, 500)) or "")
    assert misfit(said, federation({"site": "north"}, 380)) is None
    unknown = decode(total_msg=None, incremental=True)
    assert misfit(dataclasses.replace(unknown, readable=3), federation({"site": "north"}, 4)) is not None
    with pytest.raises(DecodeError, match="mixes exact ranges"):
        decode(topic="a:0:0:5,b")


def test_json_equality_tells_true_from_one() -> None:
    """A restriction of `true` is not met by 1, at any depth."""
    stream = DataAnnouncement(topic="t", input_format="RAW", input_config={"data_reshape": "28 28"}, total_msg=5)
    for ours, theirs, fits in [({"a": [1]}, {"a": [True]}, False), ({"a": [1.0]}, {"a": [1]}, True), ({}, None, True)]:
        offered = dataclasses.replace(stream, restrictions=ours)
        assert (misfit(offered, federation(restriction=theirs)) is None) == fits


def test_a_stream_that_no_job_could_read_does_not_fit() -> None:
    """What INPUT_CONFIG says wrongly is told before a Job starts: a field of text, whole numbers from fractions."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "when", "type": "string"}]}
    for fmt, config, told in (
        ("AVRO", {"data_scheme": schema}, "it cannot be read: data_scheme: field 'when' is 'string', not a number"),
        ("RAW", {"data_type": "text", "data_reshape": "28 28"}, "'text' is not a type of numbers"),
        ("RAW", {"data_type": "float32", "data_reshape": "28 28"}, None),
    ):
        stream = DataAnnouncement(topic="t", input_format=fmt, input_config=config, total_msg=5)
        found = misfit(stream, federation())
        assert found is None if told is None else told in (found or "")
