"""How a training Job runs on Kubernetes: its image, its resources, where it may be scheduled. Pure.

The environment gives the defaults (`MAINSTEM_JOB_<FIELD>`); a deployment's `job` object overrides single fields, within
what `mainstem.job_limits` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from mainstem.errors import ConfigError

ENVIRONMENT: Final = "MAINSTEM_JOB_"
"""What the variables of the defaults begin with."""

IMAGE: Final = "federated_model_training_tensorflow:0.1.0"
"""What `build.sh` makes of this version."""

_NAME: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_NAME}(\.{_NAME})*")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9][A-Za-z0-9-]*)*(:[0-9]{1,5})?"
_PART: Final = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?=.{{1,400}}\Z)({_HOST}/)?{_PART}(/{_PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
)
"""As the distribution project's `reference` package has it: without it `lab/../other` would look like one of `lab`."""
_QUANTITY: Final = re.compile(r"(?=.*[1-9])[0-9]{1,15}(\.[0-9]{1,9})?(m|[kMGTPE]|[KMGTPE]i)?")
_MOST: Final = 1 << 31


class Toleration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A toleration as Kubernetes writes it."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Job's manifest takes from settings. Quantities are Kubernetes' (`500m`, `2Gi`); times are seconds.

    `memory` is request and limit, so that a Job never takes a neighbour's; `cpu` is the request, without a limit
    unless `cpu_limit` says so. `user` None leaves the numeric user to the image or the platform.
    """

    image: str = IMAGE
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: list[str] = []
    cpu: str = "500m"
    cpu_limit: str | None = None
    memory: str = "2Gi"
    scratch: str = "2Gi"
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    runtime_class: str | None = None
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    priority_class: str | None = None
    backoff_limit: int = 3
    ttl_seconds: int = 3600
    deadline_seconds: int | None = None
    user: int | None = 10001

    @staticmethod
    def of(fields: Mapping[str, Any], named: Callable[[str], str] = "job.{}".format) -> JobSettings:
        """Checked settings; raises ConfigError whose sentence names the field as `named` calls it, and the fix."""
        unknown = [name for name in fields if name not in _RULES]
        if unknown:
            raise ConfigError(f"{named(str(unknown[0])[:60])} is no setting of a Job; there are {', '.join(_RULES)}")
        for name, value in fields.items():
            _check(name, value, named(name))
        return msgspec.convert(dict(fields), JobSettings)

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> JobSettings:
        """The defaults: text as it is, lists and objects as JSON; raises ConfigError naming the variable."""
        given = {field: environ.get(_variable(field), "").strip() for field in _RULES}
        return JobSettings.of(
            {name: from_text(name, text, _variable) for name, text in given.items() if text}, _variable
        )

    def overridden(self, fields: Mapping[str, Any]) -> JobSettings:
        """These settings with a deployment's own; raises ConfigError."""
        return msgspec.structs.replace(self, **{name: getattr(JobSettings.of(fields), name) for name in fields})


JOB_FIELDS: Final = JobSettings.__struct_fields__
"""The names of the settings."""


def _variable(field: str) -> str:
    return ENVIRONMENT + field.upper()


def from_text(field: str, text: str, named: Callable[[str], str] = "job.{}".format) -> Any:
    """A setting's value as it is written in a variable or an option: text as it is, anything else as JSON.

    `image` as the user is whoever the image names. Raises ConfigError; the value itself is not checked yet.
    """
    if field in _TEXT or field not in _RULES:
        return text
    if field == "user" and text == "image":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{named(field)} is {text[:60]!r}; it must be {_RULES[field][1]}") from error


def _labels(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 64
        and all(_key(k) and isinstance(v, str) and (not v or _LABEL.fullmatch(v)) for k, v in value.items())
    )


def _key(value: object) -> bool:
    if not isinstance(value, str):
        return False
    prefix, slash, name = value.rpartition("/")
    return bool(_LABEL.fullmatch(name)) and (not slash or bool(_SUBDOMAIN.fullmatch(prefix)))


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _whole(least: int, most: int = _MOST) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value < most


def _names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(map(_matches(_SUBDOMAIN), value))


def _tolerations(value: object) -> bool:
    if not isinstance(value, list) or len(value) > 64:
        return False
    try:
        parsed = msgspec.convert(value, list[Toleration])
    except (msgspec.ValidationError, RecursionError):
        return False
    return all(
        (_key(t.key) if t.key is not None else t.operator == "Exists")
        and (t.value is None or (t.operator == "Equal" and bool(not t.value or _LABEL.fullmatch(t.value))))
        and (t.toleration_seconds is None or (t.effect == "NoExecute" and abs(t.toleration_seconds) < _MOST))
        for t in parsed
    )


_NAMED = "a Kubernetes name: a-z, 0-9, '-' and '.'"
_AMOUNT = "a Kubernetes quantity above 0 such as"
_RULES: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "image": (_matches(_IMAGE), "an image's name such as registry/federated_model_training_tensorflow:1.0"),
    "image_pull_policy": (lambda v: v in ("Always", "IfNotPresent", "Never"), "Always, IfNotPresent or Never"),
    "pull_secrets": (_names, 'a list of names of Secrets such as ["registry"]'),
    "cpu": (_matches(_QUANTITY), f"{_AMOUNT} 500m or 2"),
    "cpu_limit": (_matches(_QUANTITY), f"{_AMOUNT} 500m or 2"),
    "memory": (_matches(_QUANTITY), f"{_AMOUNT} 2Gi"),
    "scratch": (_matches(_QUANTITY), f"{_AMOUNT} 2Gi"),
    "gpus": (_whole(0, 1025), "a whole number from 0 to 1024"),
    "gpu_resource": (_key, "a device's resource name such as nvidia.com/gpu"),
    "runtime_class": (_matches(_SUBDOMAIN), _NAMED),
    "node_selector": (_labels, 'an object of labels such as {"pool": "gpu"}'),
    "tolerations": (
        _tolerations,
        'a list such as [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], as Kubernetes writes them',
    ),
    "priority_class": (_matches(_SUBDOMAIN), _NAMED),
    "backoff_limit": (_whole(0), "a whole number from 0"),
    "ttl_seconds": (_whole(0), "a whole number of seconds from 0"),
    "deadline_seconds": (_whole(1), "a whole number of seconds from 1"),
    "user": (_whole(1), "a user's number above 0"),
}
_TEXT: Final = {
    "image", "image_pull_policy", "cpu", "cpu_limit", "memory", "scratch", "gpu_resource", "runtime_class",
    "priority_class",
}  # fmt: skip
_OPTIONAL: Final = {"cpu_limit", "runtime_class", "priority_class", "deadline_seconds", "user"}


def _check(name: str, value: object, named: str) -> None:
    good, what = _RULES[name]
    if value is None and name in _OPTIONAL:
        return
    if not good(value):
        shown = repr(value)
        raise ConfigError(f"{named} is {shown if len(shown) <= 60 else shown[:57] + '...'}; it must be {what}")
