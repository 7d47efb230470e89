"""Forms of the pages: Django's fields show them, the serializers and services of REST judge what was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from rest_framework.exceptions import APIException

from backend.config.problems import described
from mainstem.errors import MainstemError

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


def secret(label: str, hint: str = "", *, required: bool = True) -> forms.CharField:
    """A password; it is never sent back."""
    widget = forms.PasswordInput({"autocomplete": "new-password"})
    return forms.CharField(label=label, help_text=hint, required=required, widget=widget)


def choice(label: str, choices: Any, hint: str = "", **attrs: Any) -> forms.ChoiceField:
    """One of several."""
    return forms.ChoiceField(label=label, help_text=hint, choices=choices, widget=forms.Select(_dashed(attrs)))


def _dashed(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """HTML's names of attributes."""
    return {name.replace("_", "-"): value for name, value in attrs.items()}
