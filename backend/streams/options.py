"""How files are read and where they go: the options of `inject_scripts.inject_files`, as REST and pages take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from backend.rest.fields import JsonField
from backend.rest.serializers import Serializer
from mainstem.protocol.topics import is_topic_name, reserved
from mainstem.streams.codecs import FORMATS

KINDS: Final = ("csv", "npz", "idx", "cifar10")
_OTHERWISE: Final = {"input_format": "format"}
"""Options that the script calls otherwise."""


class TopicField(serializers.RegexField):
    """A topic for samples."""

    def __init__(self, **options: Any) -> None:
        told: dict[str, Any] = {"invalid": "A topic's name has 1 to 200 characters of A-Z a-z 0-9 . _ -"}
        super().__init__(r"\A[A-Za-z0-9._-]{1,200}\Z", error_messages=told, **options)

    def to_internal_value(self, data: Any) -> str:
        """The name; the protocol's own topics hold no samples, and Kafka keeps two names for itself."""
        value = str(super().to_internal_value(data))
        self.run_validators(value)
        if reserved(value) or not is_topic_name(value):
            raise serializers.ValidationError(f"{value} is not a topic for samples: choose another name.")
        return value


class _Word(serializers.CharField):
    def __init__(self, most: int = 200, **options: Any) -> None:
        super().__init__(required=False, max_length=most, allow_blank=True, trim_whitespace=False, **options)


def _words(most: int = 500) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=4000), required=False, max_length=most)


def _part() -> serializers.FloatField:
    return serializers.FloatField(required=False, min_value=0, max_value=0.99)


class OptionsSerializer(Serializer):
    """Every option of a file; what is left out is as the script has it. The script judges what depends on the file."""

    kind = serializers.ChoiceField(KINDS, required=False, allow_blank=True)
    label_column = _Word(help_text="Its name or number; the last one where it is left out.")
    no_labels = serializers.BooleanField(required=False)
    classes = _Word(4000, help_text="How many, or their names in order: a,b,c.")
    label_subtract = serializers.IntegerField(required=False, min_value=-(1 << 31), max_value=1 << 31)
    delimiter = _Word(20, help_text="comma, semicolon, tab, space, pipe, or a character.")
    decimal = serializers.ChoiceField((".", ","), required=False)
    encoding = _Word(40, help_text="Such as cp1252, latin-1, utf-16.")
    header = serializers.ChoiceField(("yes", "no"), required=False, allow_blank=True)
    skip_lines = serializers.IntegerField(required=False, min_value=0, max_value=1 << 31)
    drop = _words()
    missing = serializers.ChoiceField(("refuse", "drop", "mean"), required=False)
    categories = serializers.ChoiceField(("one-hot", "codes"), required=False, allow_blank=True)
    words = _words()
    data_key = _Word()
    label_key = _Word()
    normalize = serializers.BooleanField(required=False)
    dtype = _Word(20)
    data_reshape = _Word(100)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1 << 40)
    shuffle = serializers.IntegerField(required=False, min_value=0, max_value=(1 << 32) - 1)
    test_rate = _part()
    validation_rate = _part()
    topic = TopicField(required=False)
    input_format = serializers.ChoiceField(FORMATS, required=False)
    restriction = JsonField(required=False, allow_null=True)
    description = _Word(1000)
    federation = _Word(20, help_text="The only federation meant.")


def arguments(options: Mapping[str, Any]) -> list[str]:
    """The script's arguments; each option in one word with its value, so that no value can be an option."""
    found: list[str] = []
    for name, value in options.items():
        option = f"--{_OTHERWISE.get(name, name).replace('_', '-')}"
        if name == "restriction":
            found.append(f"{option}={json.dumps({} if value is None else value)}")
        elif isinstance(value, bool):
            found += [option] if value else []
        else:
            found += [
                f"{option}={one}" for one in (value if isinstance(value, list) else [value]) if one not in ("", None)
            ]
    return found
