"""Signatures of records: what holds, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.protocol.signing import HEADER, SigningKey, check_public, key_id, named, signed

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
TOPIC = "FEDERATED_AGGREGATOR_TOPIC-abcd1234"


@given(value=st.binary(max_size=200))
def test_a_signature_holds_for_its_key_topic_and_value_alone(value: bytes) -> None:
    headers = dict([KEY.sign(TOPIC, value)])
    assert named(headers) == key_id(KEY.public)
    assert signed(headers, TOPIC, value, KEY.public)
    assert signed(headers, TOPIC, memoryview(value), KEY.public)
    assert not signed(headers, TOPIC, value, OTHER.public)
    assert not signed(headers, TOPIC + "x", value, KEY.public)
    assert not signed(headers, TOPIC, value + b"x", KEY.public)


@given(place=st.integers(0, 80), bit=st.integers(0, 7))
def test_no_bit_of_a_signature_may_be_another(place: int, bit: int) -> None:
    header = bytearray(KEY.sign(TOPIC, b"value")[1])
    header[place] ^= 1 << bit
    assert not signed({HEADER: bytes(header)}, TOPIC, b"value", KEY.public)


@pytest.mark.parametrize("headers", [{}, {HEADER: b""}, {HEADER: b"\x01" * 80}, {HEADER: b"\x02" * 81}])
def test_what_is_no_signature_names_no_key(headers: dict[str, bytes]) -> None:
    assert named(headers) is None
    assert not signed(headers, TOPIC, b"value", KEY.public)


def test_a_key_comes_back_from_its_file() -> None:
    assert SigningKey.from_pem(KEY.pem()).public == KEY.public
    assert check_public(KEY.public) == KEY.public


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_holds_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ConfigError, match="private key"):
        SigningKey.from_pem(pem)


@pytest.mark.parametrize("public", ["", "A" * 42, "A" * 44, "é" * 43, "A" * 42 + "!", "A" * 42 + "B"])
def test_what_is_no_public_key_is_refused(public: str) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        check_public(public)
