"""A process's settings as a struct: read from the environment or from options, and in words for `--help`. Pure.

Each field says what it is (`mainstem.runtime.fields`); one that a variable sets names it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from mainstem.runtime.environ import optional
from mainstem.runtime.fields import WORDS, Field, checked, fields_of
from mainstem.runtime.variables import Variable

_Settings = TypeVar("_Settings", bound=msgspec.Struct)
_WHOLE: Final = re.compile(r"-?[0-9]{1,30}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("0", "false", "no", "off")


def from_environ(struct: type[_Settings], environ: Mapping[str, str]) -> _Settings:
    """What the variables say; one that is empty or blank is not given. Raises ConfigError naming the variable."""
    fields = fields_of(struct)
    given = {name: optional(environ, field.variable) for name, field in fields.items()}
    values = {name: _value(fields[name], text) for name, text in given.items() if text is not None}
    return checked(struct, values, "no setting", lambda name: fields[name].variable)


def add_options(parser: argparse.ArgumentParser, struct: type[msgspec.Struct]) -> None:
    """An option `--name` for each field, with its sentence and default."""
    for name, field in fields_of(struct).items():
        metavar = "N" if field.kind == "whole" else "VALUE"
        unit = f"{WORDS[field.unit]}; " if field.unit in WORDS else ""
        parser.add_argument(_option(name), metavar=metavar, help=f"{_phrase(field)} ({unit}default: {_default(field)})")


def from_options(struct: type[_Settings], options: argparse.Namespace) -> _Settings:
    """What the options of `add_options` say; raises ConfigError naming the option."""
    fields = fields_of(struct)
    given = {name: getattr(options, name) for name in fields}
    values = {name: _value(fields[name], text) for name, text in given.items() if text is not None}
    return checked(struct, values, "no option", _option)


def variables(struct: type[msgspec.Struct]) -> tuple[Variable, ...]:
    """The variables, for `--help`."""
    fields = fields_of(struct).values()
    return tuple(
        Variable(
            field.variable,
            _phrase(field) + (f", in {WORDS[field.unit]}" if field.unit in WORDS else ""),
            None if field.otherwise or field.default_text == "null" else field.default_text,
            _default(field),
        )
        for field in fields
    )


def rows(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    """(variable, sentence, what it must be, what holds where it is not set) of each, for a page's table."""
    for field in fields_of(struct).values():
        default = _default(field)
        yield field.variable, field.sentence, field.must, f"`{default}`" if default == field.default_text else default


def _value(field: Field, text: str) -> Any:
    """What the text says; text that says nothing of the kind stays, and is refused as it is."""
    if field.kind == "flag" and text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    for kind, form, number in (("whole", _WHOLE, int), ("number", _NUMBER, float)):
        if field.kind == kind and form.fullmatch(text):
            return number(text)
    return text


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _phrase(field: Field) -> str:
    """The sentence within another one."""
    return field.sentence.removesuffix(".")


def _default(field: Field) -> str:
    return field.otherwise or (field.default_text if field.default_text != "null" else "none")
