"""What people may ask of a run: REST's fields, a resource's and a form's, each read from the struct that it ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from mainstem.aggregation.strategies import STRATEGIES
from mainstem.jobs.compiling import SCHEDULES
from mainstem.protocol.encodings import ENCODINGS, ONLY_UP, RAW
from mainstem.protocol.messages import Adaptation, Data, Rules, Training
from mainstem.rounds.modes import MODES
from mainstem.rounds.selection import SELECTIONS
from mainstem.runtime.fields import Field, fields_of

RULES: Final = Rules(rounds=5)
"""The rules of a run of which nothing is asked."""

_Asked = TypeVar("_Asked", Rules, Data, Training, Adaptation)


def _asked(of: Rules | Data | Training | Adaptation) -> dict[str, Field]:
    """The fields that people may ask for, by the name of the struct's; the defaults are `of`'s."""
    return {
        name: replace(field, default=getattr(of, name)).as_asked()
        for name, field in fields_of(type(of)).items()
        if field.asked is not None
    }


_OF: Final = {type(of): _asked(of) for of in (RULES, Training(), Data(), Adaptation())}


_STRATEGY: Final = Field(
    name="strategy", kind="object", title="Strategy", sentence="How a round's updates become the next version."
)
_ENCODINGS: Final = {RAW: "whole tensors, as they are"} | {name: kind.summary for name, kind in ENCODINGS.items()}
_CHOICES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "mode": ("choice", {name: mode.summary for name, mode in MODES.items()}),
    "learning_rate_schedule": ("object", {name: schedule.summary for name, schedule in SCHEDULES.items()}),
    "encoding_up": ("object", _ENCODINGS),
    "encoding_down": ("object", {name: said for name, said in _ENCODINGS.items() if name not in ONLY_UP}),
    "selection": ("object", {name: way.summary for name, way in SELECTIONS.items()}),
    "strategy": ("object", {name: strategy.summary for name, strategy in STRATEGIES.items()}),
}


def choosing(field: Field) -> Field:
    """With its choices, where they stand in a registry."""
    if field.name not in _CHOICES:
        return field
    kind, choices = _CHOICES[field.name]
    return replace(field, kind=kind, choices=choices)


PARAMETERS: Final[Mapping[str, Field]] = {
    field.name: choosing(field) for field in (_STRATEGY, *(one for of in _OF.values() for one in of.values()))
}
"""By the names that people ask for them."""

OWN_OF_MODES: Final[Mapping[str, tuple[str, ...]]] = {
    name: modes for name in PARAMETERS if (modes := tuple(mode for mode, kind in MODES.items() if name in kind.own))
}
"""The parameters that mean nothing in every mode, with the modes in which they do."""


def given(of: _Asked, asked: Mapping[str, Any]) -> _Asked:
    """`of` with what is asked of it, by the names that people use; what is absent, or null where null is no value,
    stays."""
    changes = {
        name: _taken(field, asked[field.name])
        for name, field in _OF[type(of)].items()
        if asked.get(field.name) is not None or (field.optional and field.name in asked)
    }
    return msgspec.structs.replace(of, **changes)


def _taken(field: Field, value: Any) -> Any:
    if field.unit == "s":
        return round(value * 1000)
    return tuple(value) if field.kind == "list" else value


def help_of(name: str) -> str:
    """A parameter's help, with the modes in which it means something."""
    modes = OWN_OF_MODES.get(name)
    return PARAMETERS[name].help + (f" In mode {' or '.join(modes)} only." if modes else "")
