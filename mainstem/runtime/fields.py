"""What a struct's fields say about themselves: kind, bounds, unit, default and one sentence, each said once. Pure.

A field is annotated with `said(...)`, or with msgspec's own `Meta`. From there come the serializer, the form's field,
the schema of a Kubernetes resource, options, and the docs' tables.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import NODEFAULT, UNSET
from msgspec import inspect as types

from mainstem.errors import ConfigError

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
Number = int | float


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parameters of what is chosen by name: each field says its bounds and its meaning."""


class Asked(NamedTuple):
    """People ask for a field, within these bounds where they are narrower than the field's own (in its unit), and by
    this name where it is another."""

    least: Number | None = None
    most: Number | None = None
    name: str = ""


def said(
    title: str,
    sentence: str,
    *,
    unit: str = "",
    asked: Asked | None = None,
    choices: Mapping[str, str] | None = None,
    must: str = "",
    variable: str = "",
    otherwise: str = "",
) -> msgspec.Meta:
    """An annotation. `choices` are the values with what they mean; `must` says what a value must be, where bounds and
    kind do not. `variable` of the environment sets it; `otherwise` says what holds where it is not set, if no default
    does."""
    extra = {
        "unit": unit,
        "asked": asked,
        "choices": choices,
        "must": must,
        "variable": variable,
        "otherwise": otherwise,
    }
    return msgspec.Meta(
        title=title, description=sentence, extra={name: value for name, value in extra.items() if value}
    )


WORDS: Final = {"s": "seconds", "ms": "milliseconds", "bytes": "bytes", "MiB": "MiB"}
"""Units of which a field's sentence does not speak."""
_KINDS: Final[Mapping[type, str]] = {
    types.IntType: "whole",
    types.FloatType: "number",
    types.BoolType: "flag",
    types.LiteralType: "choice",
    types.StrType: "text",
    types.DictType: "object",
    types.StructType: "object",
    types.ListType: "list",
    types.VarTupleType: "list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `kind` is whole, number, flag, choice, text, list, object or any; `optional`: null is a value too.

    A value lies from `least` to `most`, or `above` and `below` (exclusive). `choices` are the values with what they
    mean, where they are few. `default` is None where there is none, or nothing.
    """

    name: str
    kind: str = "any"
    required: bool = False
    optional: bool = False
    default: Any = None
    least: Number | None = None
    above: Number | None = None
    most: Number | None = None
    below: Number | None = None
    unit: str = ""
    title: str = ""
    sentence: str = ""
    choices: Mapping[str, str] | None = None
    asked: Asked | None = None
    told: str = ""
    variable: str = ""
    otherwise: str = ""

    @property
    def must(self) -> str:
        """What a value must be: `a whole number from 1 to 1000`."""
        if self.told:
            return self.told
        if self.choices:
            named = self.kind == "object"
            return "a name, or an object of name and params" if named else f"one of {', '.join(self.choices)}"
        kinds = {"whole": "a whole number", "number": "a number", "flag": "true or false", "text": "text",
                 "list": "a list", "object": "an object"}  # fmt: skip
        unit = f"of {WORDS.get(self.unit, self.unit)}" if self.unit else ""
        return " ".join(filter(None, (kinds.get(self.kind, "JSON"), unit, self.bounds)))

    @property
    def bounds(self) -> str:
        """`from 1 to 1000`, `above 0 and at most 1`; empty where there are none that matter."""
        least, most = self.least, None if self.most is None or self.most >= _UNBOUNDED else self.most
        if least is not None and most is not None:
            return f"from {least} to {most}"
        below = None if self.below is None or self.below >= _TECHNICAL else self.below
        words = (("from", least), ("above", self.above), ("at most", most), ("below", below))
        return " and ".join(f"{word} {value}" for word, value in words if value is not None)

    @property
    def hint(self) -> str:
        """The sentence with its unit, and with bounds that one might run into: none that only keep out nonsense."""
        unit = f" In {WORDS[self.unit]}." if self.unit in WORDS else ""
        top = self.below if self.most is None else self.most
        bounds = "" if top is None or top >= _WIDE else f" {self.bounds.capitalize()}."
        return f"{self.sentence}{unit}{bounds}"

    @property
    def help(self) -> str:
        """The sentence, with its unit, the default, and the names that there are."""
        unit = f" In {WORDS[self.unit]}." if self.unit in WORDS else ""
        names = f" One of {', '.join(self.choices)}." if self.choices else ""
        default = f" Default: {self.default_text}." if self.default_text else ""
        return f"{self.sentence}{unit}{names}{default}"

    @property
    def default_text(self) -> str:
        """The default as people write it; empty where there is none, or where it depends."""
        if self.otherwise:
            return ""
        if self.default is None and self.optional:
            return "null"
        if self.default in (None, "") or self.kind in ("any", "list", "object"):
            return ""
        return str(self.default) if isinstance(self.default, str) else msgspec.json.encode(self.default).decode()

    def as_asked(self) -> Field:
        """The field as people ask for it: by its other name, within narrower bounds, milliseconds in seconds."""
        assert self.asked is not None
        least, most, name = self.asked
        field = replace(
            self,
            name=name or self.name,
            least=self.least if least is None else least,
            most=self.most if most is None else most,
            below=self.below if most is None else None,
        )
        if self.unit != "ms":
            return field
        seconds = {n: _seconds(getattr(field, n)) for n in ("least", "above", "most", "below")}
        return replace(field, kind="number", unit="s", default=_seconds(self.default), **seconds)

    def schema(self) -> dict[str, Any]:
        """The field as OpenAPI 3.0 and Kubernetes describe it."""
        kinds = {"whole": "integer", "number": "number", "flag": "boolean", "choice": "string", "text": "string",
                 "list": "array", "object": "object"}  # fmt: skip
        made: dict[str, Any] = {"type": kinds[self.kind]} if self.kind in kinds else {}
        if self.choices and self.kind == "choice":
            made["enum"] = list(self.choices)
        bounds = {"minimum": (self.least, self.above), "maximum": (self.most, self.below)}
        for key, (inclusive, exclusive) in bounds.items():
            if inclusive is not None:
                made[key] = inclusive
            elif exclusive is not None and exclusive < _TECHNICAL:
                made |= {key: exclusive, f"exclusive{key.capitalize()}": True}
        return made | {"description": self.help}


_WIDE: Final = 100_000
_TECHNICAL: Final = 1 << 31
_UNBOUNDED: Final = 1 << 53


def _seconds(ms: Any) -> Any:
    if not isinstance(ms, int | float):
        return ms
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


@lru_cache(maxsize=256)
def fields_of(struct: type[msgspec.Struct]) -> Mapping[str, Field]:
    """A struct's fields by name, in their order."""
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    return {field.name: _field(field) for field in info.fields}


def _field(field: types.Field) -> Field:
    kind: types.Type = field.type
    said_: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    while isinstance(kind, types.Metadata):
        said_ = {**(kind.extra_json_schema or {}), **said_}
        extra = {**(kind.extra or {}), **extra}
        kind = kind.type
    optional = False
    if isinstance(kind, types.UnionType):
        others = [one for one in kind.types if not isinstance(one, types.NoneType)]
        optional = any(isinstance(one, types.NoneType) for one in kind.types)
        kind = others[0] if len(others) == 1 else types.AnyType()
    choices = extra.get("choices")
    if isinstance(kind, types.LiteralType) and choices is None:
        choices = {str(value): str(value) for value in kind.values}
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    default = None if default in (NODEFAULT, UNSET) else default
    return Field(
        name=field.name,
        kind=_KINDS.get(type(kind), "any"),
        required=field.required,
        optional=optional,
        default=default,
        least=getattr(kind, "ge", None),
        above=getattr(kind, "gt", None),
        most=getattr(kind, "le", None),
        below=getattr(kind, "lt", None),
        unit=extra.get("unit", ""),
        title=said_.get("title", ""),
        sentence=inspect.cleandoc(said_.get("description", "")),
        choices=choices,
        asked=extra.get("asked"),
        told=extra.get("must", ""),
        variable=extra.get("variable", ""),
        otherwise=extra.get("otherwise", ""),
    )


def checked(
    struct: type[_Struct], given: Mapping[str, Any], unknown: str, named: Callable[[str], str] = str
) -> _Struct:
    """The struct of these values; raises ConfigError, which names the field as `named` calls it, and the way out.

    `unknown` says what a name that is no field is, such as `not a parameter of krum`.
    """
    known = fields_of(struct)
    for name in given:
        if name not in known:
            raise ConfigError(f"{named(str(name)[:60])} is {unknown}; there are {', '.join(known) or 'none'}")
    for name, field in known.items():
        if field.required and name not in given:
            raise ConfigError(f"{named(name)} is missing; it must be {field.must}")
        if isinstance(given.get(name), float) and not math.isfinite(given[name]):
            raise wrong(field, given[name], named)
    try:
        return msgspec.convert(dict(given), struct)
    except (msgspec.ValidationError, RecursionError) as error:
        place = _PLACE.findall(str(error))  # the last one: before it the value may be quoted
        name = place[-1] if place else next(iter(given))
        raise wrong(known[name], given[name], named) from error


def wrong(field: Field, value: Any, named: Callable[[str], str] = str) -> ConfigError:
    """What is said about a value that a field cannot have."""
    shown = repr(value)
    return ConfigError(
        f"{named(field.name)} is {shown if len(shown) <= 60 else shown[:57] + '...'}; it must be {field.must}"
    )


_PLACE: Final = re.compile(r"`\$\.(\w+)")
"""Where msgspec found what is wrong."""
