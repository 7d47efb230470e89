"""Models and configurations as the API shows and takes them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from backend.accounts.models import User
from backend.catalog.forests import FRAMEWORK
from backend.catalog.models import Configuration, Model, ModelKind
from backend.catalog.services import LARGEST_SEED
from backend.rest import kafka_ml
from backend.rest.fields import JsonObjectField, NameField, RowsField
from backend.rest.serializers import Serializer
from backend.rest.serializers import TableSerializer as StrictModelSerializer

FRAMEWORKS = [("tf", "tf"), (FRAMEWORK, FRAMEWORK)]
TAKEN = "There is a {} of this name already: choose another."


class TemplateSerializer(Serializer):
    """A template by name, with its parameters."""

    name = serializers.CharField(max_length=60)
    params = JsonObjectField(required=False, default=dict)


class SourceSerializer(Serializer):
    """Python source as Kafka-ML's users paste it: imports, and code that leaves a model in `model`."""

    imports = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )
    code = serializers.CharField(max_length=200_000, trim_whitespace=False)


class TextOrObjectField(serializers.Field[Any, Any, Any, Any]):
    """A Keras config as JSON text or as the object itself; kept as text."""

    def to_internal_value(self, data: Any) -> str:
        """The text; what it says is the workshop's to judge."""
        if isinstance(data, dict):
            return json.dumps(data)
        if not isinstance(data, str) or not data.strip():
            raise serializers.ValidationError("config must be a Keras model's JSON (model.to_json()).")
        return data

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class ConfigField(TextOrObjectField):
    """`TextOrObjectField` with its schema."""


class ModelCreateSerializer(Serializer):
    """A new model: one of `template`, `config`, `file`, `source`, `forest`, as `kind` says.

    Kafka-ML's own form, `imports` and `code` at the top, is taken as kind `source`.
    """

    foreign = kafka_ml.MODELS

    name = NameField(validators=[UniqueValidator(Model.objects.all(), message=TAKEN.format("model"))])
    description = serializers.CharField(required=False, default="", allow_blank=True, max_length=4000)
    kind = serializers.ChoiceField(choices=ModelKind.choices, required=False)
    template = TemplateSerializer(required=False)
    config = ConfigField(required=False)
    file = serializers.FileField(required=False, max_length=200)
    source = SourceSerializer(required=False)  # type: ignore[assignment]  # DRF has an option of this name
    forest = JsonObjectField(required=False)
    imports = serializers.CharField(required=False, allow_blank=True, max_length=20_000, trim_whitespace=False)
    code = serializers.CharField(required=False, max_length=200_000, trim_whitespace=False)
    framework = serializers.ChoiceField(choices=FRAMEWORKS, required=False)
    seed = serializers.IntegerField(required=False, default=0, min_value=0, max_value=LARGEST_SEED)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Exactly the part that the kind needs."""
        parts = {"template": "template", "json": "config", "keras": "file", "source": "source", "forest": "forest"}
        if "code" in attrs or attrs.get("imports"):
            if "source" in attrs:
                raise serializers.ValidationError({"source": "Give source, or imports and code, not both."})
            if "code" not in attrs:
                raise serializers.ValidationError({"code": "imports come with code, which leaves a model in model."})
            attrs["source"] = {"imports": attrs.get("imports", ""), "code": attrs["code"]}
        given = [kind for kind, part in parts.items() if attrs.get(part)]
        kind = attrs.get("kind") or (given[0] if len(given) == 1 else None)
        if kind is None:
            raise serializers.ValidationError({"kind": "Give one of template, config, file, source or forest."})
        if not attrs.get(parts[kind]):
            raise serializers.ValidationError({parts[kind]: f"A model of kind {kind} needs {parts[kind]}."})
        if others := [parts[one] for one in given if one != kind]:
            raise serializers.ValidationError({others[0]: f"A model of kind {kind} is made of {parts[kind]} alone."})
        due = FRAMEWORK if kind == "forest" else "tf"
        if attrs.get("framework", due) != due:
            raise serializers.ValidationError({"framework": f"A model of kind {kind} is of framework {due}."})
        if kind == "keras" and not str(attrs["file"].name).endswith((".keras", ".h5")):
            raise serializers.ValidationError(
                {"file": "The file's name must end in .keras or .h5: save the model with model.save('x.keras')."}
            )
        if kind == "keras" and attrs["file"].size > settings.MAX_UPLOAD_BYTES:
            raise serializers.ValidationError({"file": f"The file is larger than {settings.MAX_UPLOAD_BYTES:,} bytes."})
        return attrs | {"kind": kind}


class ShapeSerializer(serializers.Serializer[Any]):
    """A shape without the batch dimension, and a dtype."""

    shape = serializers.ListField(child=serializers.IntegerField())
    dtype = serializers.CharField()


class ModelSerializer(StrictModelSerializer[Model]):
    """A model in a list; of a body, its name and description."""

    foreign: ClassVar[kafka_ml.Names] = kafka_ml.MODELS

    name = NameField(validators=[UniqueValidator(Model.objects.all(), message=TAKEN.format("model"))])
    input = serializers.SerializerMethodField()
    output = serializers.SerializerMethodField()
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    configurations = serializers.PrimaryKeyRelatedField[Configuration](many=True, read_only=True)

    class Meta:
        model = Model
        fields = [
            "id", "name", "description", "framework", "kind", "seed", "input", "output", "parameters", "compile",
            "configurations", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = ["framework", "kind", "seed", "parameters", "compile"]

    @extend_schema_field(ShapeSerializer)
    def get_input(self, model: Model) -> dict[str, Any]:
        """What the model takes."""
        return {"shape": model.input_shape, "dtype": model.input_dtype}

    @extend_schema_field(ShapeSerializer)
    def get_output(self, model: Model) -> dict[str, Any]:
        """What the model gives."""
        return {"shape": model.output_shape, "dtype": model.output_dtype}


class ModelDetailSerializer(ModelSerializer):
    """A model with everything that is known of it."""

    weights_sha256 = serializers.CharField(source="weights.sha256", read_only=True)

    class Meta(ModelSerializer.Meta):
        fields = [*ModelSerializer.Meta.fields, "origin", "layers", "tensors", "weights_sha256", "architecture"]
        read_only_fields = [*ModelSerializer.Meta.read_only_fields, "origin", "layers", "tensors", "architecture"]


class ConfigurationSerializer(StrictModelSerializer[Configuration]):
    """A configuration with its models' ids."""

    foreign: ClassVar[kafka_ml.Names] = kafka_ml.CONFIGURATIONS

    name = NameField(validators=[UniqueValidator(Configuration.objects.all(), message=TAKEN.format("configuration"))])
    models = RowsField(serializers.PrimaryKeyRelatedField[Model](queryset=Model.objects.all()), allow_empty=False)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Configuration
        fields = ["id", "name", "description", "models", "created_by", "created_at"]


class DuplicateSerializer(Serializer):
    """The copy's name; without one, the old name with a number."""

    name = NameField(required=False)
