"""The rules of a Kafka's authorizer: reading them, and making them what they should be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from mainstem.errors import LogError
from mainstem.protocol.rights import Resource, Rule

SECONDS = 30.0
_KINDS: Final[Mapping[Resource, ResourceType]] = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_ANY = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # of any name, principal and host
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


class Authorizer:
    """That of the Kafka that the librdkafka settings name. Every method raises LogError."""

    def __init__(self, config: Mapping[str, str | int | float | bool]) -> None:
        self._admin = AdminClient(dict(config))

    def rules(self, users: Iterable[str]) -> frozenset[Rule]:
        """Those about the users and topics or groups, for every host."""
        asked = set(users)
        try:
            found = self._admin.describe_acls(_ANY, request_timeout=SECONDS).result()
        except KafkaException as error:
            raise LogError(_told(error)) from error
        return frozenset(rule for binding in found for rule in _rule(binding) if rule.user in asked)

    def add(self, rules: Iterable[Rule]) -> None:
        """Make them; those that are there stay."""
        if bindings := [_binding(rule) for rule in rules]:
            self._all(self._admin.create_acls(bindings, request_timeout=SECONDS).values())

    def remove(self, rules: Iterable[Rule]) -> None:
        """Take them away."""
        if filters := [_filter(rule) for rule in rules]:
            self._all(self._admin.delete_acls(filters, request_timeout=SECONDS).values())

    def _all(self, futures: Iterable[Future[None]]) -> None:
        for future in futures:
            try:
                future.result()
            except KafkaException as error:
                raise LogError(_told(error)) from error


def _told(error: KafkaException) -> str:
    code = error.args[0].code()
    if code == KafkaError.SECURITY_DISABLED:
        return "this Kafka has no authorizer (authorizer.class.name): whoever reaches it may do everything"
    return f"the rules of Kafka's authorizer: {error.args[0].str()}"


def _rule(binding: AclBinding) -> Iterator[Rule]:
    kind = _NAMES.get(ResourceType(binding.restype))
    if kind is not None and binding.principal.startswith("User:") and binding.host == "*":
        yield Rule(
            binding.principal.removeprefix("User:"),
            kind,
            binding.name,
            binding.resource_pattern_type == ResourcePatternType.PREFIXED,
            AclOperation(binding.operation).name.title().replace("_", ""),
            binding.permission_type == AclPermissionType.ALLOW,
        )


def _binding(rule: Rule) -> AclBinding:
    return AclBinding(*_parts(rule))


def _filter(rule: Rule) -> AclBindingFilter:
    return AclBindingFilter(*_parts(rule))


def _parts(
    rule: Rule,
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    return (
        _KINDS[rule.resource],
        rule.name,
        ResourcePatternType.PREFIXED if rule.prefixed else ResourcePatternType.LITERAL,
        f"User:{rule.user}",
        "*",
        AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", rule.operation).upper()],
        AclPermissionType.ALLOW if rule.allow else AclPermissionType.DENY,
    )
