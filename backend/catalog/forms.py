"""The catalog's forms: what was typed, as REST would be sent it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from backend.catalog.blueprints import TEMPLATES
from backend.catalog.models import Model, ModelKind
from backend.rest.strict_json import JsonError, json_value
from backend.site.forms import Form, area, choice, control, number, shown, text
from mainstem.jobs.forests import NUMBER, SEVERAL, ForestParams
from mainstem.runtime.fields import fields_of

KINDS = (
    (ModelKind.TEMPLATE, "a template"),
    (ModelKind.KERAS, "a .keras file"),
    (ModelKind.JSON, "Keras JSON"),
    (ModelKind.SOURCE, "Python source"),
    (ModelKind.FOREST, "boosted trees"),
)


FOREST = fields_of(ForestParams)
FOREST_WHEN = {
    name: f"kind=forest&forest-objective={objective}" for name, objective in (("classes", SEVERAL), ("start", NUMBER))
}
"""Parameters of a forest that mean something to one objective alone."""


class ModelForm(Form):
    """A new model, in one of five ways; the fields of the other four are not sent."""

    name = text("Name", required=True, maxlength=100, autocomplete="off")
    description = area("Description", rows=2, maxlength=4000)
    kind = forms.ChoiceField(label="Made from", choices=KINDS, widget=forms.RadioSelect, initial=ModelKind.TEMPLATE)
    template = choice("Template", [(made["name"], made["title"]) for made in TEMPLATES])
    file = forms.FileField(
        label="File",
        help_text=f"As model.save('x.keras') writes it; at most {settings.MAX_UPLOAD_BYTES >> 20:,} MiB. "
        "Nothing in it is executed.",
        widget=forms.FileInput({"accept": ".keras,.h5", "data-most-bytes": settings.MAX_UPLOAD_BYTES}),
    )
    config = area("Keras JSON", "What model.to_json() gives.", required=True, rows=12)
    imports = area("Imports", rows=4, data_editor="")
    code = area(
        "Code",
        "Leaves a Keras model in the variable model. It runs confined: no network, no files, a minute at most.",
        required=True,
        rows=14,
        data_editor="",
    )
    seed = number("Seed", "Of the initial weights: the same seed, the same weights.", inputmode="numeric")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["seed"].initial = 0
        for template in TEMPLATES:
            for param in template["params"]:
                field = text(
                    param["name"].replace("_", " ").capitalize(), param["help"], required=True, autocomplete="off"
                )
                field.initial = _shown(param["default"])
                self.fields[f"{template['name']}-{param['name']}"] = field
        for name, param in FOREST.items():
            self.fields[f"forest-{name}"] = control(param)
            self.fields[f"forest-{name}"].initial = shown(param)

    @property
    def parameters(self) -> list[tuple[str, list[Any]]]:
        """Each template's name with its fields."""
        return [(made["name"], [self[f"{made['name']}-{p['name']}"] for p in made["params"]]) for made in TEMPLATES]

    @property
    def forest_fields(self) -> list[tuple[str, Any]]:
        """A forest's parameters, with when they mean something."""
        return [(FOREST_WHEN.get(name, "kind=forest"), self[f"forest-{name}"]) for name in FOREST]

    @property
    def kind_chosen(self) -> str:
        """The way that is chosen."""
        return str(self["kind"].value() or "")

    def body(self) -> dict[str, Any]:
        """What is sent to REST."""
        sent = self.only("name", "description", "kind", "seed")
        if self.kind_chosen == ModelKind.TEMPLATE:
            sent["template"] = self._template()
        elif self.kind_chosen == ModelKind.FOREST:
            sent["forest"] = self._forest()
        elif self.kind_chosen == ModelKind.SOURCE:
            sent["source"] = self.only("imports", "code")
        else:
            sent |= self.only("config" if self.kind_chosen == ModelKind.JSON else "file")
        return sent

    def _template(self) -> dict[str, Any]:
        name = str(self["template"].data or "")
        known: list[dict[str, Any]] = next((made["params"] for made in TEMPLATES if made["name"] == name), [])
        typed = self.typed()
        params = {
            param["name"]: _value(typed[field], param["default"])
            for param in known
            if (field := f"{name}-{param['name']}") in typed
        }
        return {"name": name, "params": params}

    def _forest(self) -> dict[str, Any]:
        typed, objective = self.typed(), f"forest-objective={self['forest-objective'].data}"
        return {
            name: typed[f"forest-{name}"] if param.choices else _value(typed[f"forest-{name}"], 0)
            for name, param in FOREST.items()
            if f"forest-{name}" in typed and FOREST_WHEN.get(name, objective).endswith(objective)
        }

    def home(self, path: str) -> str | None:
        """Parameters of a template, and of a forest, stand at their own fields."""
        if path.startswith("forest."):
            return super().home(path.replace(".", "-"))
        if path.startswith("template.params."):
            return super().home(f"{self['template'].data}-{path.split('.')[2]}") or "template"
        if path.startswith("source."):
            return super().home(path.removeprefix("source."))
        return super().home({"source": "code", "model": "code", "architecture": "config"}.get(path, path))


class ModelNameForm(Form):
    """What may change of a model."""

    name = text("Name", required=True, maxlength=100, autocomplete="off")
    description = area("Description", rows=2, maxlength=4000)


class ConfigurationForm(Form):
    """A set of models that are trained on the same data."""

    name = text("Name", required=True, maxlength=100, autocomplete="off")
    description = area("Description", rows=2, maxlength=4000)
    models = forms.MultipleChoiceField(
        label="Models",
        help_text="Each opens a federation of its own when the configuration is deployed.",
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        rows = Model.objects.order_by("name").values_list("pk", "name", "input_shape", "output_shape")
        field = self.fields["models"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(pk, f"{name}: {_shown(taken)} to {_shown(given)}") for pk, name, taken, given in rows]

    def body(self) -> dict[str, Any]:
        """What is sent to REST."""
        return {"name": "", "description": "", "models": [], **self.typed()}


def _shown(value: Any) -> str:
    """A list as its numbers, as people write a shape."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(typed: str, default: Any) -> Any:
    """A parameter from what was typed, of its default's kind where it can be; else the text itself, to be judged."""
    if isinstance(default, str):
        return typed.strip()
    words = typed.replace(",", " ").strip(" []()").split() if isinstance(default, list) else [typed]
    try:
        found = [json_value(word) for word in words]
    except JsonError:
        return typed.strip()
    return found if isinstance(default, list) else found[0]
