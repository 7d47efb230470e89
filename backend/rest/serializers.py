"""What every serializer of a request is made of: no name in a body is swallowed in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from django.db import models
from rest_framework import serializers
from rest_framework.request import Request

from backend.rest import kafka_ml
from backend.rest.fields import FiniteField
from backend.rest.strict_json import JsonError, json_value

_Row = TypeVar("_Row", bound=models.Model)

MOST_NAMED = 20
"""Of so many wrong names each has a sentence; the others of that body are as wrong."""


class Serializer(serializers.Serializer[Any]):
    """Refuses names that it has no field for, takes Kafka-ML's for ours, and reads a form's fields as JSON's.

    A field that only Mainstem sets may be sent back as it was read, so that a changed object can be put whole.
    """

    foreign: ClassVar[kafka_ml.Names] = {}

    def to_internal_value(self, data: Any) -> Any:
        """Raise ValidationError, with a sentence for each wrong name beside those for wrong values."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        wrong: dict[str, list[str]] = {}
        named = self._translated(dict(self._given(data, wrong)), wrong)
        for name in named:
            if len(wrong) < MOST_NAMED and (sentence := self._unknown(name, named[name])):
                wrong[str(name)] = [sentence]
        try:
            taken = super().to_internal_value(named)
        except serializers.ValidationError as error:
            detail = error.detail if isinstance(error.detail, dict) else {}
            raise serializers.ValidationError({**detail, **wrong} or error.detail) from error
        if wrong:
            raise serializers.ValidationError(wrong)
        return taken

    def _given(self, data: Mapping[str, Any], wrong: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
        """Names and values. In a form, what is given several times is a list's, or wrong, and objects are JSON text."""
        getlist = getattr(data, "getlist", lambda name: [data[name]])
        for name in data:
            field, values = self.fields.get(name), getlist(name)
            if hasattr(data, "getlist") and isinstance(field, serializers.ListField | serializers.ManyRelatedField):
                yield name, values
                continue
            if len(values) > 1:
                wrong[name] = [f"This is given {len(values)} times."]
            value = values[-1] if values else ""
            if isinstance(field, serializers.Serializer) and isinstance(value, str) and value.lstrip().startswith("{"):
                try:
                    value = json_value(value)
                except JsonError as error:
                    wrong[name] = [str(error)]
            yield name, value

    def _translated(self, data: dict[str, Any], wrong: dict[str, list[str]]) -> dict[str, Any]:
        """The data with our names in the place of Kafka-ML's."""
        ours = {name: value for name, value in data.items() if name not in self.foreign}
        for name in [name for name in data if name in self.foreign]:
            try:
                meant = self.foreign[name].means(data[name])
            except ValueError as error:
                wrong[name] = [str(error)]
                continue
            if twice := [own for own in meant if own in ours]:
                wrong[name] = [f"This says {twice[0]}, which is given too: leave one of them out."]
            ours = meant | ours
        return ours

    def _unknown(self, name: Any, value: Any) -> str:
        """Why no value of this name can be taken; empty where one can."""
        field = self.fields.get(name)
        if field is None:
            near = get_close_matches(str(name)[:100], [n for n, one in self.fields.items() if not one.read_only], 1)
            return f"There is no such field: did you mean {near[0]}?" if near else "There is no such field."
        if not field.read_only:
            return ""
        if self.instance is None:
            return "This is for Mainstem to say: leave it out."
        return "" if value == self.to_representation(self.instance).get(name) else "This cannot be changed."


class TableSerializer(Serializer, serializers.ModelSerializer[_Row]):
    """The same for a table's rows."""

    serializer_field_mapping: ClassVar[Any] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.FloatField: FiniteField,
    }


class Nothing(Serializer):
    """Of a request whose address says it all."""


def expect_nothing(request: Request) -> None:
    """Raise ValidationError where a request without parameters has some."""
    Nothing(data=request.data).is_valid(raise_exception=True)
