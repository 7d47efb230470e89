"""Ports that nobody uses."""

from __future__ import annotations

from mainstem.runtime.processes import free_port


def free_ports(count: int) -> list[int]:
    """So many of this machine, each another one."""
    ports: list[int] = []
    while len(ports) < count:
        ports.append(free_port(avoid=set(ports)))
    return ports
