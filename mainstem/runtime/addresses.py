"""`host:port` as people write it: names, IPv4, and IPv6 in brackets (RFC 3986)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from mainstem.errors import ConfigError

_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")


def host_and_port(text: str) -> tuple[str, int]:
    """The host, an IPv6 address without its brackets, and the port; raises ConfigError."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        many = text.count(":") > 1 and "[" not in text
        raise ConfigError(f"it must be host:port{', an IPv6 address in brackets: [::1]:9092' if many else ''}")
    host, port = found[1] or found[2], int(found[3])
    if not 0 < port < 1 << 16:
        raise ConfigError(f"it must be host:port, and a port is from 1 to {(1 << 16) - 1}")
    if found[1]:
        try:
            IPv6Address(host)
        except ValueError as error:
            raise ConfigError(f"[{host}] is no IPv6 address") from error
    return host, port


def address(host: str, port: int) -> str:
    """`host:port`, brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
