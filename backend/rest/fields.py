"""Fields that several serializers have: names that people give, numbers, JSON, rows by their ids."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.rest.strict_json import JsonError, check_keepable, json_value
from mainstem.runtime.fields import Field

NAME_LENGTH: Final = 100
MOST_ROWS: Final = 100

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, formats (some turn the direction of text), surrogates, ends of lines and parts."""

_JOINERS: Final = "\u200c\u200d"
"""Formats that Persian, Hindi and emojis are written with."""


class NameField(serializers.CharField):
    """A name that a person gives: one line that shows as what it is, without blanks around it, in NFC."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invisible": "A name is one line of letters that show: leave out {character}, character {place}.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": NAME_LENGTH, **options})

    def to_internal_value(self, data: Any) -> str:
        """The name; control characters, line ends and what turns the direction of text are refused."""
        text = super().to_internal_value(data)
        if text and not text.strip(_JOINERS):
            self.fail("blank")
        for place, character in enumerate(text, 1):
            if unicodedata.category(character) in _INVISIBLE and character not in _JOINERS:
                shown = f"U+{ord(character):04X} {unicodedata.name(character, '')}".strip()
                self.fail("invisible", character=shown, place=place)
        return unicodedata.normalize("NFC", text)


class FiniteField(serializers.FloatField):
    """A number: not NaN, which no bound holds off, and not infinite."""

    def to_internal_value(self, data: Any) -> float:
        """The number."""
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


def field_of(parameter: Field, *, required: bool = False) -> serializers.Field[Any, Any, Any, Any]:
    """The field that takes a parameter: a number within its bounds, a flag, one of its choices; other kinds as text."""
    plain: dict[str, Any] = {"required": required, "help_text": parameter.help}
    if parameter.optional:
        plain["allow_null"] = True
    bounds: dict[str, Any] = {"min_value": parameter.least, "max_value": parameter.most}
    if parameter.kind == "whole":
        return serializers.IntegerField(**plain, **bounds)
    if parameter.kind == "number":
        return FiniteField(**plain, **bounds)
    if parameter.kind == "flag":
        return serializers.BooleanField(**plain)
    if parameter.choices:
        return serializers.ChoiceField(choices=list(parameter.choices), **plain)
    return serializers.CharField(**plain)


@extend_schema_field(OpenApiTypes.ANY)
class JsonField(serializers.Field[Any, Any, Any, Any]):
    """A JSON value, or text that holds one; of at most `most` characters."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "too_long": "This has {length:,} characters as JSON; at most {most:,} are taken here."
    }

    def __init__(self, *, most: int = 65_536, **options: Any) -> None:
        super().__init__(**options)
        self.most = most

    def to_internal_value(self, data: Any) -> Any:
        """The value."""
        try:
            if isinstance(data, str):
                self._bound(len(data))
                return json_value(data) if data.strip() else None
            check_keepable(data)
        except JsonError as error:
            raise serializers.ValidationError(str(error)) from error
        self._bound(len(json.dumps(data)))
        return data

    def _bound(self, length: int) -> None:
        if length > self.most:
            self.fail("too_long", length=length, most=self.most)

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class JsonObjectField(JsonField):
    """A JSON object, or text that holds one."""

    default_error_messages: ClassVar[dict[str, Any]] = {"no_object": 'This must be a JSON object, such as {"a": 1}.'}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object."""
        value = super().to_internal_value(data)
        if not isinstance(value, Mapping):
            self.fail("no_object")
        return dict(value)


@extend_schema_field({"type": "array", "items": {"type": "integer"}, "maxItems": MOST_ROWS})
class RowsField(serializers.ManyRelatedField):
    """Rows by their ids: each counts once, and one query finds them all."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "too_many": "These are {count:,} ids; at most {most} are taken here.",
        "no_id": "{value} is no id: ids are whole numbers.",
        "missing": "There is none with the id {value}.",
    }

    def to_internal_value(self, data: Any) -> list[Any]:
        """The rows, in the order that they were asked for."""
        if not isinstance(data, list | tuple):
            self.fail("not_a_list", input_type=type(data).__name__)
        if not data and not self.allow_empty:
            self.fail("empty")
        if len(data) > MOST_ROWS:
            self.fail("too_many", count=len(data), most=MOST_ROWS)
        ids = dict.fromkeys(map(self._id, data))
        found: dict[int, Any] = self.child_relation.get_queryset().in_bulk(list(ids))  # type: ignore[union-attr]
        for value in ids:
            if value not in found:
                self.fail("missing", value=value)
        return [found[value] for value in ids]

    def _id(self, value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**18:
            self.fail("no_id", value=str(value)[:40])
        return value
