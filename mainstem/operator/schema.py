"""A run's parameters as the definition of FederatedDeployment describes them. Pure.

`python -m tests.docs.made` writes them into `kustomize/components/operator/crd.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mainstem.rounds.parameters import PARAMETERS, help_of
from mainstem.runtime.fields import Field

_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}
_KERAS: Final = _ANY | {"description": "A Keras name, or an object with class_name and config."}
_NAMED: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "maxLength": 60}, "params": {"type": "object", **_ANY}},
}
_NAMES: Final = ("strategy", "selection", "encoding_up", "encoding_down", "learning_rate_schedule")
"""Which ones there are is the backend's to say."""
_SHAPES: Final[Mapping[str, dict[str, Any]]] = {
    **dict.fromkeys(_NAMES, _NAMED),
    "metrics": {"type": "array", "maxItems": 20, "items": _KERAS},
    "personal": {"type": "array", "maxItems": 64, "items": {"type": "string", "minLength": 1, "maxLength": 200}},
    "class_weight": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    "data_restriction": {"type": "object", **_ANY},
    "mode": {"type": "string", "maxLength": 20},
}
"""What is no plain value; and what a backend that is newer than the definition may know more of."""


_ADMISSION: Final[Mapping[str, dict[str, Any]]] = {
    "admission": {
        "type": "string",
        "enum": ["open", "enrolled"],
        "description": "Whose clients may take part: anyone, or those of enrolled sites.",
    },
    "sites": {
        "type": "array",
        "maxItems": 1000,
        "items": {"type": "string", "maxLength": 64},
        "description": "The sites that an enrolled run admits; without it all that are enrolled when it is opened.",
    },
}
"""Whom a run admits: the rules have keys in the place of these names."""


def properties() -> dict[str, dict[str, Any]]:
    """The schemas by name, in the order of `PARAMETERS`; then whom the run admits."""
    return {
        name: _SHAPES.get(name, _plain(field)) | {"description": field.sentence if name in _NAMES else help_of(name)}
        for name, field in PARAMETERS.items()
    } | dict(_ADMISSION)


def _plain(field: Field) -> dict[str, Any]:
    return field.schema() if field.kind != "any" else _ANY
