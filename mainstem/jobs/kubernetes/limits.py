"""What a deployment may choose of its Jobs: a person's `job` object, judged by what the administrator allows. Pure.

A Job runs on the administrator's nodes with the Jobs' secrets. So a deployment chooses quantities up to a bound and
another tag of the training image; whatever else places or privileges a pod is either the administrator's default
(`mainstem.jobs.kubernetes.settings`) or on a list of his: `MAINSTEM_JOB_ALLOW_<FIELD>`, `MAINSTEM_JOB_MOST_<FIELD>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import msgspec

from mainstem.errors import ConfigError
from mainstem.jobs.kubernetes.settings import ENVIRONMENT, JobSettings, Toleration, from_text

IMAGES: Final = f"{ENVIRONMENT}IMAGES"

MOST: Final[Mapping[str, str | int | None]] = {
    "cpu": "64",
    "memory": "256Gi",
    "scratch": "100Gi",
    "gpus": 8,
    "backoff_limit": 20,
    "ttl_seconds": 7 * 24 * 3600,
    "deadline_seconds": None,
}
"""The bounds where the administrator names none; None is no bound. `cpu_limit` has that of `cpu`."""

_LISTED: Final = ("pull_secrets", "runtime_class", "priority_class", "gpu_resource", "state_claim", "node_selector")
_UNITS: Final = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True)
class JobLimits:
    """The administrator's lists and bounds. What is a default is always allowed as well.

    `allow` has names by field; for `node_selector` labels such as `pool=gpu`, or `pool` for any value of it.
    """

    images: tuple[str, ...] = ()
    """Repositories, or what stands before a '/' of theirs, or single images."""
    allow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    most: Mapping[str, str | int | None] = field(default_factory=lambda: MOST)

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> JobLimits:
        """Lists are separated by commas or blanks, tolerations are JSON; raises ConfigError naming the variable."""
        bounds = {name: environ.get(most_variable(name), "").strip() for name in MOST}
        given = {name: from_text(name, text, most_variable) for name, text in bounds.items() if text}
        JobSettings.of(given, most_variable)
        tolerated = environ.get(allow_variable("tolerations"), "").strip()
        listed = from_text("tolerations", tolerated, allow_variable) if tolerated else []
        return JobLimits(
            images=_words(environ, IMAGES),
            allow={name: _words(environ, allow_variable(name)) for name in _LISTED},
            tolerations=tuple(JobSettings.of({"tolerations": listed}, allow_variable).tolerations),
            most={**MOST, **given},
        )

    def settings(self, fields: Mapping[str, Any], defaults: JobSettings) -> JobSettings:
        """The defaults with a deployment's own settings; raises ConfigError where they are wrong or not allowed."""
        own_settings(fields, defaults, self)
        return defaults.overridden(fields)


def job_settings(fields: Mapping[str, Any], environ: Mapping[str, str]) -> JobSettings:
    """What a deployment's Jobs run with, by the administrator's variables; raises ConfigError."""
    return JobLimits.from_environ(environ).settings(fields, JobSettings.from_environ(environ))


def own_settings(fields: object, defaults: JobSettings, limits: JobLimits) -> dict[str, Any]:
    """A deployment's `job` object, checked; raises ConfigError whose sentence names the field and the way out."""
    if not isinstance(fields, Mapping):
        raise ConfigError('job must be an object such as {"memory": "4Gi"}')
    chosen = JobSettings.of(fields)
    for name in fields:
        if getattr(chosen, name) != getattr(defaults, name):
            _JUDGES[name](name, chosen, defaults, limits)
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return plain


def repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.split("@", maxsplit=1)[0]
    head, _, tag = name.rpartition(":")
    return name if not head or "/" in tag else head


def allow_variable(name: str) -> str:
    """The variable with what else of a field is allowed."""
    return f"{ENVIRONMENT}ALLOW_{name.upper()}"


def most_variable(name: str) -> str:
    """The variable with a field's bound."""
    return f"{ENVIRONMENT}MOST_{name.upper()}"


def _words(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(environ.get(name, "").replace(",", " ").split())


# -- one judge a field: each is given a choice that is not the default ------------------------------------------------
def _free(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    pass


def _never(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    raise ConfigError(f"job.{name} cannot be chosen by a deployment: the operator sets {ENVIRONMENT}{name.upper()}")


def _image(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    own = repository(defaults.image)
    if repository(chosen.image) != own and not any(_within(chosen.image, entry) for entry in limits.images):
        raise ConfigError(
            f"job.image is {chosen.image!r}; a deployment may choose a tag of {own}, and images that {IMAGES} allows"
        )


def _within(image: str, entry: str) -> bool:
    """Whether an image is the entry's, or lies below it: what follows the entry begins with '/', ':' or '@'."""
    place, name = entry.rstrip("/:"), repository(image)
    return bool(place) and (place in (image, name) or name.startswith(f"{place}/"))


def _one(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    value, default = getattr(chosen, name), getattr(defaults, name)
    listed = limits.allow.get(name, ())
    if value not in listed:
        _refuse(name, f"is {value!r}" if value is not None else "is null", [*([default] if default else []), *listed])


def _each(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    allowed = [*getattr(defaults, name), *limits.allow.get(name, ())]
    for value in getattr(chosen, name):
        if value not in allowed:
            _refuse(name, f"has {value!r}", allowed)


def _tolerated(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    allowed = [*defaults.tolerations, *limits.tolerations]
    for toleration in chosen.tolerations:
        if toleration not in allowed:
            _refuse(name, f"has {_json(toleration)}", [_json(each) for each in allowed])


def _nodes(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    """A default keeps the Jobs to some nodes: its labels may have another allowed value, and never be left out."""
    must, listed = defaults.node_selector, limits.allow.get(name, ())
    for label, value in chosen.node_selector.items():
        if must.get(label) != value and not {label, f"{label}={value}"} & set(listed):
            _refuse(name, f"has {label}={value}", [*(f"{k}={v}" for k, v in must.items()), *listed])
    for label, value in must.items():
        if label not in chosen.node_selector:
            raise ConfigError(f"job.{name} leaves out {label}={value}, which the administrator asks of every node")


def _bounded(name: str, chosen: JobSettings, defaults: JobSettings, limits: JobLimits) -> None:
    value, default = getattr(chosen, name), getattr(defaults, name)
    field_ = "cpu" if name == "cpu_limit" else name
    most = limits.most[field_]
    if value is None:  # no bound at all, where the default is one
        _refuse_amount(name, "null", default, f"{ENVIRONMENT}{name.upper()}")
    if most is None:
        return
    if amount(value) > max(amount(most), amount(default) if default is not None else 0):
        larger = default if default is not None and amount(default) > amount(most) else most
        _refuse_amount(name, repr(value), larger, most_variable(field_))


def amount(value: str | int) -> Fraction:
    """A whole number, or a quantity of Kubernetes' in its unit: `500m` is one half, `2Ki` is 2048."""
    text = str(value)
    number = text.rstrip("".join(_UNITS))
    return Fraction(number) * _UNITS[text[len(number) :]]


def _json(toleration: Toleration) -> str:
    return msgspec.json.encode(toleration).decode()


def _refuse(name: str, what: str, allowed: list[str]) -> None:
    choices = ", ".join(map(str, allowed)) or "none"
    raise ConfigError(
        f"job.{name} {what}; a deployment may choose {choices}, and what the administrator allows with "
        f"{allow_variable(name)}"
    )


def _refuse_amount(name: str, what: str, most: str | int, variable: str) -> None:
    raise ConfigError(f"job.{name} is {what}; a deployment may choose at most {most}, the administrator's {variable}")


_Judge = Callable[[str, JobSettings, JobSettings, JobLimits], None]
_JUDGES: Final[Mapping[str, _Judge]] = {
    "image": _image,
    "image_pull_policy": _free,
    "pull_secrets": _each,
    "cpu": _bounded,
    "cpu_limit": _bounded,
    "memory": _bounded,
    "scratch": _bounded,
    "gpus": _bounded,
    "gpu_resource": _one,
    "runtime_class": _one,
    "node_selector": _nodes,
    "tolerations": _tolerated,
    "priority_class": _one,
    "state_claim": _one,
    "backoff_limit": _bounded,
    "ttl_seconds": _bounded,
    "deadline_seconds": _bounded,
    "user": _never,
}
"""Every field has one: a new field without a judge is an error, not a way in."""
