"""Who may do what with which topics and groups, as the rules of Kafka's own authorizer (KIP-11, KIP-290 prefixes)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mainstem.errors import ConfigError
from mainstem.protocol.topics import (
    AGGREGATOR_PREFIX,
    AGGREGATORS,
    AUDIT,
    DATA_CONTROL,
    FEDERATION_PREFIX,
    MODEL_CONTROL,
)

Resource = Literal["topic", "group"]
ANYONE = "ANONYMOUS"
"""Whoever comes to a listener that asks for no login."""
EVERY = "*"
"""A literal name that stands for all of them."""
GROUPS = "mainstem-"
"""With which the names of all our consumer groups begin. In the aggregators' a client would take runs from them."""
READERS = "mainstem-reader"
"""The group that readers of ranges name, without being members of it."""
CONTROL_LOGGERS = "mainstem-control-logger"
LOGGERS = (CONTROL_LOGGERS, "mainstem-data-control-logger")
"""With which the names of the loggers' groups begin; a site's name follows after a dash."""

INTERNAL_PREFIX = "__"
"""With which the names of Kafka's own topics begin: groups' offsets, transactions."""

_READ = ("Describe", "Read")
_WRITE = ("Describe", "Write")
_ALL = ("Alter", "AlterConfigs", "Create", "Delete", "Describe", "DescribeConfigs", "Read", "Write")


@dataclass(frozen=True, order=True, slots=True)
class Rule:
    """`user` may, or with `allow` false may not, do `operation` with what has that name, or begins so (`prefixed`)."""

    user: str
    resource: Resource
    name: str
    prefixed: bool
    operation: str
    allow: bool = True

    def __str__(self) -> str:
        may = "may" if self.allow else "may not"
        which = f"{self.resource}s that begin with {self.name}" if self.prefixed else f"{self.resource} {self.name}"
        return f"{self.user} {may} {self.operation} {which if self.name != EVERY else f'any {self.resource}'}"

    def command(self) -> str:
        """Its arguments for the tool `kafka-acls`, after `--add` or `--remove`."""
        who = f"--{'allow' if self.allow else 'deny'}-principal 'User:{self.user}' --operation {self.operation}"
        pattern = " --resource-pattern-type prefixed" if self.prefixed else ""
        return f"{who} --{self.resource} '{self.name}'{pattern}"


def plan(platform: Iterable[str] = (), clients: Iterable[str] = (), feeders: Iterable[str] = ()) -> frozenset[Rule]:
    """The rules for users of the platform, of sites' clients, and of those that feed data streams alone.

    Raises ConfigError where a user is two of these, or has no name.
    """
    kinds = {"the platform": set(platform), "a client": set(clients), "a feeder": set(feeders)}
    users = [user for those in kinds.values() for user in those]
    if twice := sorted({user for user in users if users.count(user) > 1}):
        raise ConfigError(f"{twice[0]} can be one of the platform, a client and a feeder, not two of them")
    if not all(user and user == user.strip() and "'" not in user for user in users):
        raise ConfigError("a user's name is not empty, and has no quotes and no blanks around it")
    rules = [rule for user in kinds["the platform"] for rule in _of_the_platform(user)]
    rules += [rule for user in kinds["a client"] for rule in _of_a_client(user)]
    rules += [rule for user in kinds["a feeder"] for rule in _of_a_feeder(user)]
    return frozenset(rules)


def _of_the_platform(user: str) -> Iterator[Rule]:
    """Everything with the protocol's own topics; data streams it reads."""
    for name in (MODEL_CONTROL, DATA_CONTROL, AUDIT):
        yield from _rules(user, "topic", name, _ALL)
    for name in (FEDERATION_PREFIX, AGGREGATOR_PREFIX):
        yield from _rules(user, "topic", name, _ALL, prefixed=True)
    yield from _rules(user, "topic", EVERY, (*_READ, "DescribeConfigs"))
    yield from _rules(user, "group", GROUPS, _READ, prefixed=True)


def _of_a_client(user: str) -> Iterator[Rule]:
    """What the server writes it reads; what clients write it writes, and does not read."""
    yield from _rules(user, "topic", MODEL_CONTROL, _READ)
    yield from _rules(user, "topic", FEDERATION_PREFIX, _READ, prefixed=True)
    yield from _rules(user, "topic", AGGREGATOR_PREFIX, _WRITE, prefixed=True)
    yield from _rules(user, "group", READERS, _READ)
    yield from _rules(user, "group", f"{CONTROL_LOGGERS}-", _READ, prefixed=True)


def _of_a_feeder(user: str) -> Iterator[Rule]:
    """Data streams and their announcement; a denial wins over what is allowed.

    Kafka's own topics are denied by name: it takes records for them from whoever may write them and calls itself
    `__admin_client`, and one such record stops every consumer group.
    """
    yield from _rules(user, "topic", EVERY, ("Create", "Describe", "Read", "Write"))
    for name in (FEDERATION_PREFIX, AGGREGATOR_PREFIX, INTERNAL_PREFIX):
        yield from _rules(user, "topic", name, ("Create", "Read", "Write"), prefixed=True, allow=False)
    for name in (MODEL_CONTROL, AUDIT):
        yield from _rules(user, "topic", name, ("Create", "Read", "Write"), allow=False)
    yield from _rules(user, "group", EVERY, _READ)
    yield from _rules(user, "group", AGGREGATORS, ("Read",), allow=False)
    for name in LOGGERS:
        yield from _rules(user, "group", name, ("Read",), prefixed=True, allow=False)


def _rules(
    user: str,
    resource: Resource,
    name: str,
    operations: Iterable[str],
    *,
    prefixed: bool = False,
    allow: bool = True,
) -> Iterator[Rule]:
    return (Rule(user, resource, name, prefixed, operation, allow) for operation in operations)
