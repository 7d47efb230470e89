"""How a training Job runs on Kubernetes: its image, its resources, where it may be scheduled. Pure.

The environment gives the defaults (`MAINSTEM_JOB_<FIELD>`); a deployment's `job` object overrides single fields, within
what `mainstem.jobs.kubernetes.limits` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from mainstem.runtime.fields import checked, fields_of, said, wrong

ENVIRONMENT: Final = "MAINSTEM_JOB_"
"""What the variables of the defaults begin with."""

IMAGE: Final = "federated_model_training_tensorflow:0.1.0"
"""What `build.sh` makes of this version."""

_NAME: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = rf"(?=.{{1,253}}\Z){_NAME}(\.{_NAME})*"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9][A-Za-z0-9-]*)*(:[0-9]{1,5})?"
_PART: Final = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_MOST: Final = 1 << 31


def _whole(pattern: str) -> Meta:
    """Of a text that matches from its beginning to its end."""
    return Meta(pattern=rf"\A(?:{pattern})\Z")


Image = Annotated[
    str, _whole(
        rf"(?=.{{1,400}}\Z)({_HOST}/)?{_PART}(/{_PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
    ),
]  # fmt: skip
"""As the distribution project's `reference` package has it: without it `lab/../other` would look like one of `lab`."""
Quantity = Annotated[str, _whole(r"(?=.*[1-9])[0-9]{1,15}(\.[0-9]{1,9})?(m|[kMGTPE]|[KMGTPE]i)?")]
Subdomain = Annotated[str, _whole(_SUBDOMAIN)]
Key = Annotated[str, _whole(rf"((?=[^/]{{1,253}}/){_NAME}(\.{_NAME})*/)?{_LABEL}")]
"""A label's, a taint's or a resource's, with or without whose it is."""
Value = Annotated[str, _whole(rf"({_LABEL})?")]


class Toleration(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A toleration as Kubernetes writes it; raises ValueError for one that it would not take."""

    key: Key | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: Value | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Meta(gt=-_MOST, lt=_MOST)] | None = None

    def __post_init__(self) -> None:
        if self.operator == "Exists":
            if self.value is not None:
                raise ValueError("what is to exist has no value")
        elif self.key is None:
            raise ValueError("a value is compared with that of a key")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("only what would be evicted stays for some seconds")


_AMOUNT = "a Kubernetes quantity above 0 such as"
_CPU: Final = f"{_AMOUNT} 500m or 2"
_MEMORY: Final = f"{_AMOUNT} 2Gi"
_NAMED: Final = "a Kubernetes name: a-z, 0-9, '-' and '.'"


class JobSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Job's manifest takes from settings. Quantities are Kubernetes' (`500m`, `2Gi`); times are seconds."""

    image: Annotated[
        Image,
        said(
            "Image", "The training image.",
            must="an image's name such as registry/federated_model_training_tensorflow:1.0",
        ),
    ] = IMAGE  # fmt: skip
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"],
        said("Pulling", "When a node pulls the image.", must="Always, IfNotPresent or Never"),
    ] = "IfNotPresent"
    pull_secrets: Annotated[
        Annotated[list[Subdomain], Meta(max_length=64)],
        said(
            "Registry's Secrets", "Names of Secrets for the registry.",
            must='a list of names of Secrets such as ["registry"]',
        ),
    ] = []  # fmt: skip
    cpu: Annotated[Quantity, said("CPU", "The request.", must=_CPU)] = "500m"
    cpu_limit: Annotated[Quantity | None, said("CPU, at most", "The limit, if there is to be one.", must=_CPU)] = None
    memory: Annotated[
        Quantity,
        said("Memory", "Request and limit in one, so that a Job never takes its neighbours'.", must=_MEMORY),
    ] = "2Gi"
    scratch: Annotated[
        Quantity, said("Scratch", "The most that /tmp and the home directory may hold, each.", must=_MEMORY)
    ] = "2Gi"
    gpus: Annotated[Annotated[int, Meta(ge=0, le=1024)], said("Devices", "How many GPUs, or others.")] = 0
    gpu_resource: Annotated[
        Key,
        said("Device", "The devices' resource name.", must="a device's resource name such as nvidia.com/gpu"),
    ] = "nvidia.com/gpu"
    runtime_class: Annotated[Subdomain | None, said("Runtime class", "For GPUs, or for a sandbox.", must=_NAMED)] = None
    node_selector: Annotated[
        Annotated[dict[Key, Value], Meta(max_length=64)],
        said("Nodes", "Labels that a node must have.", must='an object of labels such as {"pool": "gpu"}'),
    ] = {}
    tolerations: Annotated[
        Annotated[list[Toleration], Meta(max_length=64)],
        said(
            "Tolerations",
            "Taints of nodes that do not keep the pods away.",
            must='a list such as [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], as Kubernetes writes '
            "them",
        ),
    ] = []
    priority_class: Annotated[Subdomain | None, said("Priority class", "The pods' priority class.", must=_NAMED)] = None
    state_claim: Annotated[
        Subdomain | None,
        said("State", "A PersistentVolumeClaim for what clients keep between rounds and send to nobody.", must=_NAMED),
    ] = None
    backoff_limit: Annotated[
        Annotated[int, Meta(ge=0, lt=_MOST)],
        said("Attempts", "So often a failed attempt is followed by another one."),
    ] = 3
    ttl_seconds: Annotated[
        Annotated[int, Meta(ge=0, lt=_MOST)],
        said("Stays", "So long an ended Job, and with it its log, stays.", unit="s"),
    ] = 3600  # fmt: skip
    deadline_seconds: Annotated[
        Annotated[int, Meta(ge=1, lt=_MOST)] | None,
        said("Deadline", "The longest that a Job may take with all attempts.", unit="s"),
    ] = None  # fmt: skip
    user: Annotated[
        Annotated[int, Meta(ge=1, lt=_MOST)] | None,
        said("User", "The numeric user and group; `image` leaves it to the image or the platform.",
             must="a user's number above 0"),
    ] = 10001  # fmt: skip

    @staticmethod
    def of(fields: Mapping[str, Any], named: Callable[[str], str] = "job.{}".format) -> JobSettings:
        """Checked settings; raises ConfigError whose sentence names the field as `named` calls it, and the fix."""
        return checked(JobSettings, fields, "no setting of a Job", named)

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> JobSettings:
        """The defaults: text as it is, lists and objects as JSON; raises ConfigError naming the variable."""
        given = {field: environ.get(_variable(field), "").strip() for field in JOB_FIELDS}
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
    known = fields_of(JobSettings).get(field)
    if known is None or known.kind in ("text", "choice"):
        return text
    if field == "user" and text == "image":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(known, text, named) from error
