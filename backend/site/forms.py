"""Forms of the pages: Django's fields show them, the serializers and services of REST judge what was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from rest_framework.exceptions import APIException

from backend.rest.problems import described
from mainstem.errors import MainstemError
from mainstem.runtime.fields import Field

_Made = TypeVar("_Made")


class Form(forms.Form):
    """A form that shows again whatever was typed, with REST's own sentences beside its fields.

    `required` of a field only says how it is labelled. A sentence about `a.b.c` stands at the field that `homes` names
    for `a.b.c`, `a.b` or `a`, or that is called so; what has no home stands above the form.
    """

    use_required_attribute = False
    homes: ClassVar[Mapping[str, str]] = {}
    lines: dict[str, int]
    """The line to blame in a field of several."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lines = {}
        self.status = 200

    def _clean_fields(self) -> None:
        """Django would judge here."""
        for name, field in self._typed():
            self.cleaned_data[name] = field

    def _typed(self) -> Iterator[tuple[str, Any]]:
        for name in self.fields:
            yield name, self[name].data

    def typed(self) -> dict[str, Any]:
        """The fields in which something was typed, by name."""
        return {name: value for name, value in self._typed() if value not in (None, "", [])}

    def only(self, *names: str) -> dict[str, Any]:
        """Of those, the fields of these names."""
        return {name: value for name, value in self.typed().items() if name in names}

    def judged(self, act: Callable[[], _Made]) -> _Made | None:
        """What `act` makes; None where it was refused, with each sentence at its field."""
        try:
            return act()
        except (APIException, MainstemError) as error:
            self.refuse(error)
            return None

    def refuse(self, error: Exception) -> None:
        """Put each sentence of an error where it belongs."""
        _ = self.errors  # so that there is a place for them
        self.status, entries = described(error)
        for entry in entries:
            home = self.home(entry["field"])
            if home is None and entry["field"] and entry["field"] not in entry["message"]:
                entry["message"] = f"{entry['field']}: {entry['message']}"
            self.add_error(home, entry["message"])
            if home is not None and "line" in entry:
                self.lines[home] = entry["line"]

    def home(self, path: str) -> str | None:
        """The field that a problem's field is shown at."""
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            name = self.homes.get(name, name)
            if name in self.fields:
                return name
        return None


def text(label: str, hint: str = "", *, required: bool = False, **attrs: Any) -> forms.CharField:
    """A line of text. Browsers do not change what is typed into it."""
    plain = {"autocapitalize": "none", "spellcheck": "false"} | _dashed(attrs)
    return forms.CharField(label=label, help_text=hint, required=required, widget=forms.TextInput(plain))


def area(label: str, hint: str = "", *, required: bool = False, **attrs: Any) -> forms.CharField:
    """Several lines of text."""
    plain = {"spellcheck": "false", "rows": 3} | _dashed(attrs)
    return forms.CharField(label=label, help_text=hint, required=required, widget=forms.Textarea(plain))


def number(label: str, hint: str = "", *, required: bool = False, **attrs: Any) -> forms.CharField:
    """A number, kept as it was typed: a browser's own field of numbers forgets what is none."""
    plain = {"inputmode": "decimal", "autocomplete": "off"} | _dashed(attrs)
    return forms.CharField(label=label, help_text=hint, required=required, widget=forms.TextInput(plain))


def secret(label: str, hint: str = "", *, required: bool = True, known: bool = False) -> forms.CharField:
    """A password, a new one or the one that there is (`known`); it is never sent back."""
    widget = forms.PasswordInput({"autocomplete": "current-password" if known else "new-password"})
    return forms.CharField(label=label, help_text=hint, required=required, widget=widget)


class NamedField(forms.ChoiceField):
    """One of several by name; the page shows what the chosen one does."""

    def __init__(self, summaries: Mapping[str, str], **options: Any) -> None:
        super().__init__(choices=[(name, name) for name in summaries], **options)
        self.summaries = summaries


def choice(label: str, choices: Any, hint: str = "", **attrs: Any) -> forms.ChoiceField:
    """One of several."""
    return forms.ChoiceField(label=label, help_text=hint, choices=choices, widget=forms.Select(_dashed(attrs)))


def control(parameter: Field) -> forms.Field:
    """The field in which a parameter is typed: its title, its sentence, its choices."""
    label, hint = parameter.title, parameter.hint
    required = parameter.default is not None and parameter.kind not in ("any", "list", "object")
    if parameter.kind == "flag":
        return forms.BooleanField(label=label, help_text=hint)
    if parameter.choices:
        return choice(label, list(parameter.choices.items()), hint)
    if parameter.kind in ("whole", "number"):
        return number(label, hint, required=required, inputmode="numeric" if parameter.kind == "whole" else "decimal")
    return text(label, hint, required=required)


def shown(parameter: Field) -> Any:
    """What stands in that field at first."""
    if parameter.kind == "flag":
        return "on" if parameter.default else None
    return parameter.default


def _dashed(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """HTML's names of attributes."""
    return {name.replace("_", "-"): value for name, value in attrs.items()}
