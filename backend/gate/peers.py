"""Who speaks to us: the peer itself, or the one for whom a trusted proxy speaks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from mainstem.errors import ConfigError

Network = IPv4Network | IPv6Network

VARIABLE: Final = "MAINSTEM_TRUSTED_PROXIES"


def networks(words: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (`10.1.2.3`, `10.0.0.0/8`, `fd00::/8`); raises ConfigError."""
    found = []
    for word in words:
        try:
            found.append(ip_network(word))
        except ValueError as error:
            raise ConfigError(f"{VARIABLE} has {word!r}; give addresses or networks such as 10.0.0.0/8") from error
    return tuple(found)


def trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Whether the address is one of the proxies'."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in proxies)


def speaker(peer: str, forwarded: str, proxies: Sequence[Network]) -> str:
    """The address that a request comes from; `forwarded` is its X-Forwarded-For.

    Each proxy appends whom it heard: so the list is read from its end, only as far as those who wrote it are trusted,
    and what a client wrote into it itself counts for nothing.
    """
    address = peer
    for heard in reversed([word.strip() for word in forwarded.split(",")]):
        if not trusted(address, proxies):
            break
        try:
            address = str(ip_address(heard))
        except ValueError:
            break
    return address


def household(address: str) -> str:
    """What counts as one: an IPv4 address; of IPv6 the /64 network, all of which one host may use."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
