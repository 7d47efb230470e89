"""What is there of a request, and who sent it: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.gate import peers
from backend.gate.arriving import SMALL_BYTES, Stage, stage
from mainstem.errors import ConfigError

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", Stage.PARTIAL),
        (HEAD, Stage.PARTIAL),
        (HEAD + b"\r\n", Stage.WHOLE),
        (b"\r\n" + HEAD + b"\r\n", Stage.WHOLE),
        (HEAD + b"content-length: 3\r\n\r\nab", Stage.PARTIAL),
        (HEAD + b"Content-Length:3\r\n\r\nabc", Stage.WHOLE),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", Stage.EXPECTING),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (SMALL_BYTES + 1), Stage.HEADED),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 9\r\n\r\na", Stage.PARTIAL),
        (HEAD + b"Content-Length: -1\r\n\r\n", Stage.WHOLE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", Stage.HEADED),
        (b"GET / HTTP/1.1\n\n", Stage.WHOLE),
        (b"x" * (SMALL_BYTES + 1), Stage.OVERLONG),
        (HEAD + b"X: " + b"x" * SMALL_BYTES + b"\r\n\r\n", Stage.OVERLONG),
    ],
)
def test_stages(data: bytes, found: Stage) -> None:
    """By what its head says and how much is there."""
    assert stage(data) is found


@given(
    st.binary(max_size=300), st.lists(st.sampled_from([b"\r\n", b"\r\n\r\n", b"Content-Length: 5", b"x"])), st.data()
)
def test_more_bytes_never_take_a_verdict_back(noise: bytes, parts: list[bytes], data: st.DataObject) -> None:
    """So it does not matter in which pieces a request comes."""
    whole = HEAD + b"".join(parts) + noise
    cut = data.draw(st.integers(0, len(whole)))
    if (before := stage(whole[:cut])) not in (Stage.PARTIAL, Stage.EXPECTING):
        assert stage(whole) is before or before is Stage.WHOLE


PROXIES = peers.networks(["10.0.0.0/8", "192.168.7.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "speaker"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # whoever says so himself is not believed
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the first is what the client wrote
        ("10.1.1.1", "198.51.100.1, 192.168.7.1", "198.51.100.1"),
        ("::ffff:10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "nonsense", "10.1.1.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_speaker(peer: str, forwarded: str, speaker: str) -> None:
    """X-Forwarded-For counts as far as trusted proxies wrote it."""
    assert peers.speaker(peer, forwarded, PROXIES) == speaker


def test_households() -> None:
    """A host may use all addresses of its IPv6 network."""
    assert peers.household("2001:db8::1") == peers.household("2001:db8::ffff:2") == "2001:db8::/64"
    assert peers.household("2001:db8:0:1::1") != peers.household("2001:db8::1")
    assert peers.household("::ffff:198.51.100.1") == peers.household("198.51.100.1") == "198.51.100.1"


@given(st.text())
def test_any_address(text: str) -> None:
    """Nothing that a header holds is an error."""
    assert len(peers.household(text)) <= 64
    assert peers.speaker("10.1.1.1", text, PROXIES)


def test_no_network() -> None:
    """A setting that is none is refused with a sentence."""
    with pytest.raises(ConfigError, match="MAINSTEM_TRUSTED_PROXIES has 'proxy'; give addresses"):
        peers.networks(["proxy"])
