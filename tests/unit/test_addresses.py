"""`host:port`, with IPv6."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.runtime.addresses import address, host_and_port

HOSTS = st.ip_addresses() | st.sampled_from(("localhost", "kafka.lab-7.example.org", "my_broker"))


@given(HOSTS, st.integers(1, 65535))
def test_what_is_written_is_read(host: IPv4Address | IPv6Address | str, port: int) -> None:
    """Names, IPv4, IPv6."""
    assert host_and_port(address(str(host), port)) == (str(host), port)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    """Nothing else is raised, and nothing that could bring another setting in is let through."""
    try:
        host, port = host_and_port(text)
    except ConfigError:
        return
    assert not set(host) & set(" ,\n=/") and 0 < port < 65536


def test_a_bare_ipv6_address_is_told_its_brackets() -> None:
    """Where its port begins nobody can say."""
    with pytest.raises(ConfigError, match=r"an IPv6 address in brackets: \[::1\]:9092"):
        host_and_port("::1:9092")
