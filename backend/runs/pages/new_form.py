"""The form of a new deployment: every parameter of REST, with the defaults that REST has."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django import forms

from backend.catalog.forests import FRAMEWORK
from backend.catalog.models import Configuration, Model
from backend.deployments.planning.plan import BAGGING
from backend.rest.strict_json import JsonError, json_value
from backend.site.forms import Form, NamedField, area, choice, control, number, shown, text
from backend.sites import admission
from mainstem.aggregation.strategies import STRATEGIES
from mainstem.jobs.compiling import SCHEDULES
from mainstem.protocol.encodings import ENCODINGS, RAW
from mainstem.protocol.messages import LearningRateSchedule, Selection, StrategyChoice
from mainstem.rounds.parameters import OWN_OF_MODES, PARAMETERS
from mainstem.rounds.selection import SELECTIONS, SelectionParams
from mainstem.runtime.fields import Field, fields_of

APART = "__"
OWN = {
    APART.join(filter(None, (name, own.choice if own.kind in preset.free else "", own.field.name))): (name, own)
    for name, preset in STRATEGIES.items()
    for own in preset.parameters()
}
"""Each strategy's parameters, by their fields' names: the strategy's, its choice's where there are several, its own."""
STRATEGY_PARAMETERS = {name: own.field for name, (_, own) in OWN.items()}
ENCODING_PARAMETERS = {
    APART.join((name, field.name)): (name, field)
    for name, encoding in ENCODINGS.items()
    for field in fields_of(encoding.Params).values()
}
"""Each encoding's parameters, by their fields' names, with the encoding's."""
SCHEDULE = "learning_rate_schedule"
SCHEDULE_PARAMETERS = {
    APART.join((SCHEDULE, name, field.name)): (name, field)
    for name, schedule in SCHEDULES.items()
    for field in fields_of(schedule.Params).values()
}
"""Each schedule's parameters, by their fields' names, with the schedule's."""
OF_CHOICES = {SCHEDULE: SCHEDULE_PARAMETERS, "encoding_up": ENCODING_PARAMETERS}
"""Those two, by the field that chooses."""
NAMED_PARAMETERS = {name: field for own in OF_CHOICES.values() for name, (_, field) in own.items()}
SIMPLE = ("whole", "number", "flag", "choice", "text")
OF_FEDERATION = (
    "mode", "rounds", "min_clients", "max_clients", "quorum", "below_quorum", "missed_limit", "keep_updates",
    "adapt", "personal", "ditto", "keyframe_every",
)  # fmt: skip
"""What means nothing where one client trains alone, beside what belongs to a mode."""
TYPED = ("configuration", "model", "name", "federation", "job", "check", "admission")
"""What is sent as it was typed, beside most parameters."""
OTHERWISE = (
    "strategy", "selection", "encoding_up", "encoding_down", "optimizer", "loss", "metrics", "shuffle", SCHEDULE,
)  # fmt: skip
"""Parameters that are not."""
HOW_MANY = fields_of(SelectionParams)


class DeploymentForm(Form):
    """A new deployment. It is always bound: at first to its defaults, so that the preview shows them."""

    homes: ClassVar[Mapping[str, str]] = {
        "strategy.name": "strategy",
        "selection.name": "selection",
        "encoding_up.name": "encoding_up",
        "encoding_down.name": "encoding_down",
        f"{SCHEDULE}.name": SCHEDULE,
        "selection.params": "selection_number",
        "training": "check",
        "training.optimizer": "optimizer",
        "training.loss": "loss",
        "training.metrics": "metrics",
        "training.learning_rate": "learning_rate",
    }

    configuration = choice("Configuration", ())
    model = choice("Model", ())
    name = text("Name", "Without one: the configuration's.", maxlength=100, autocomplete="off")
    federation = text(
        "Federation id", "8 characters a-z, 0-9 that were never used; without one it is drawn.", autocomplete="off"
    )
    federated = forms.BooleanField(
        label="Federated: several clients, round by round",
        help_text="Off: the first stream that fits trains once, alone; raise the epochs instead of the rounds.",
        widget=forms.CheckboxInput({"role": "switch", "data-switch": ""}),
    )
    strategy = NamedField(PARAMETERS["strategy"].choices or {}, label=PARAMETERS["strategy"].title)
    learning_rate_schedule = NamedField(PARAMETERS[SCHEDULE].choices or {}, label=PARAMETERS[SCHEDULE].title)
    mode = forms.ChoiceField(
        label=PARAMETERS["mode"].title,
        choices=[(name, f"{name}: {summary}") for name, summary in (PARAMETERS["mode"].choices or {}).items()],
        widget=forms.RadioSelect,
    )
    selection_by = choice("How many", [(name, field.title) for name, field in HOW_MANY.items()])
    selection_number = number("So many", "Such as 0.1, or 10.", required=True)
    admission = forms.ChoiceField(label="Admission", choices=list(admission.MODES.items()), widget=forms.RadioSelect)
    sites = forms.MultipleChoiceField(
        label="Sites",
        help_text="None ticked: all that are enrolled when the run is opened.",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    data_restriction = area(PARAMETERS["data_restriction"].title, PARAMETERS["data_restriction"].sentence, rows=2)
    job = area("Job settings", 'JSON, where its Jobs differ on Kubernetes: {"memory": "4Gi", "gpus": 1}.', rows=2)
    check = forms.BooleanField(
        label="Try the training settings before anything is created",
        help_text="The workshop compiles the model and trains a step on zeros; takes some seconds.",
    )

    def __init__(self, data: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(data, *arguments, **options)
        for name, field in {**PARAMETERS, **NAMED_PARAMETERS}.items():
            self.fields.setdefault(name, control(field))
        for name, (_, own) in OWN.items():
            named = None if own.choice else NamedField(own.field.choices or {}, label=own.field.title)
            self.fields[name] = named or control(own.field)
        self._configurations = list(Configuration.objects.prefetch_related("models").order_by("-created_at", "-id"))
        self._offer("configuration", [(str(c.pk), c.name) for c in self._configurations])
        chosen = next((c for c in self._configurations if str(c.pk) == str(self["configuration"].data)), None)
        models = list(chosen.models.all()) if chosen is not None else []
        first = [("", f"all {len(models)}: a federation each")] if len(models) != 1 else []
        self._offer("sites", [(site.name, site.name) for site in admission.valid()])
        self._offer("model", [*first, *((str(model.pk), model.name) for model in models)])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @staticmethod
    def defaults(configuration: str = "") -> dict[str, Any]:
        """What the form shows at first."""
        first = Configuration.objects.order_by("-created_at", "-id").values_list("pk", flat=True).first()
        chosen = configuration or str(first or "")
        kinds = set(Model.objects.filter(configurations__in=_key(chosen)).values_list("framework", flat=True))
        return {
            "configuration": chosen,
            "federated": "on",
            "admission": admission.DEFAULT,
            "selection_by": "fraction",
            "selection_number": "0.5",
            **{name: shown(field) for name, field in PARAMETERS.items() if field.kind in SIMPLE},
            **{name: shown(field) for name, field in {**STRATEGY_PARAMETERS, **NAMED_PARAMETERS}.items()},
            SCHEDULE: LearningRateSchedule().name,
            "strategy": BAGGING if kinds == {FRAMEWORK} else StrategyChoice().name,
            "selection": Selection().name,
            "encoding_up": RAW,
            "encoding_down": RAW,
        }

    @property
    def model_is_offered(self) -> bool:
        """Whether the chosen model is one of the chosen configuration's, or none is chosen."""
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        return self["model"].data in ("", None) or field.valid_value(self["model"].data)

    @property
    def strategy_fields(self) -> Iterator[tuple[str, Any]]:
        """Each strategy's parameters, with when they mean something: the strategy, and the choice that has them."""
        for name, (strategy, own) in OWN.items():
            chosen = f"&{strategy}{APART}{own.kind}={own.choice}" if own.kind in STRATEGIES[strategy].free else ""
            yield f"strategy={strategy}{chosen}", self[name]

    @property
    def encoding_fields(self) -> Iterator[tuple[str, Any]]:
        """Each encoding's parameters, with the encoding's name."""
        for name, (encoding, _) in ENCODING_PARAMETERS.items():
            yield encoding, self[name]

    @property
    def schedule_fields(self) -> Iterator[tuple[str, Any]]:
        """Each schedule's parameters, with when they mean something."""
        for name, (schedule, _) in SCHEDULE_PARAMETERS.items():
            yield f"{SCHEDULE}={schedule}", self[name]

    @property
    def mode_fields(self) -> Iterator[tuple[str, Any]]:
        """The parameters of modes, with those in which they mean something between blanks."""
        for name, modes in OWN_OF_MODES.items():
            yield " ".join(modes), self[name]

    @property
    def choosy_selections(self) -> str:
        """The selections that ask some of the clients only."""
        return " ".join(name for name, way in SELECTIONS.items() if way.order is not None)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to deploy yet."""
        return not self._configurations

    def body(self) -> dict[str, Any]:
        """What is sent to REST: without what belongs to another choice, and without what was left empty."""
        mode = str(self["mode"].data)
        sent = self.only(*TYPED, *(name for name in PARAMETERS if name not in OTHERWISE and self._means(name, mode)))
        sent["shuffle"] = bool(self["shuffle"].data)
        if self["check"].data:
            sent["check"] = True
        for name in ("optimizer", "loss"):
            if typed := self.only(name).get(name):
                sent[name] = _object(typed)
        if metrics := self.only("metrics").get("metrics"):
            sent["metrics"] = _list(metrics)
        if sent.get("admission") == "enrolled" and self["sites"].data:
            sent["sites"] = self["sites"].data
        if not self["federated"].data:
            alone = {name: value for name, value in sent.items() if name not in (*OF_FEDERATION, *OWN_OF_MODES)}
            return alone | {"federated": False}
        if sent.get("adapt") != "personal":
            sent.pop("personal", None)
        sent["strategy"] = self._strategy()
        rates = {field.name: value for field, value in self._own_of(SCHEDULE) if value != field.default}
        sent[SCHEDULE] = {"name": str(self[SCHEDULE].data), "params": rates}
        selection = str(self["selection"].data)
        if self._means("selection", mode) and selection != Selection().name:
            by = str(self["selection_by"].data)
            sent["selection"] = {"name": selection, "params": {by: _figure(self["selection_number"].data)}}
        for name in ("encoding_up", "encoding_down"):
            if (encoding := str(self[name].data)) != RAW:
                sent[name] = {"name": encoding}
        if params := {field.name: value for field, value in self._own_of("encoding_up")}:
            sent["encoding_up"]["params"] = params
        return sent

    @staticmethod
    def _means(name: str, mode: str) -> bool:
        return mode in OWN_OF_MODES.get(name, (mode,))

    def _strategy(self) -> dict[str, Any]:
        name = str(self["strategy"].data)
        typed = self.typed()
        params = {
            OWN[full][1].field.name: _value(field, typed.get(full))
            for full, field in STRATEGY_PARAMETERS.items()
            if self._chosen(full) and (full in typed or field.kind == "flag")
        }
        return {"name": name, "params": params}

    def _own_of(self, chooser: str) -> Iterator[tuple[Field, Any]]:
        """What was typed of the parameters of what is chosen there."""
        typed = self.typed()
        for full, (name, field) in OF_CHOICES[chooser].items():
            if name == self[chooser].data and full in typed:
                yield field, _value(field, typed[full])

    def _chosen(self, full: str) -> bool:
        """Whether that parameter is the chosen strategy's, and its choice's, if it has one."""
        name, own = OWN[full]
        if name != self["strategy"].data:
            return False
        return own.kind not in STRATEGIES[name].free or own.choice == self[f"{name}{APART}{own.kind}"].data

    def home(self, path: str) -> str | None:
        """A choice's parameters stand where that choice has them; what it has not, at the choice."""
        chooser, params, wrong = path.partition(".params")
        wrong = wrong.removeprefix(".").split(".")[0]
        if params and chooser == "strategy":
            return next((full for full in OWN if OWN[full][1].field.name == wrong and self._chosen(full)), chooser)
        if params and chooser in OF_CHOICES:
            meant = (str(self[chooser].data), wrong)
            own = OF_CHOICES[chooser].items()
            return next((full for full, (name, field) in own if (name, field.name) == meant), chooser)
        return super().home(path)


def _key(text: str) -> list[int]:
    """The row's key in an address, which may be anything."""
    return [int(text)] if text.isascii() and text.isdigit() and len(text) < 18 else []


def _value(field: Field, typed: Any) -> Any:
    """A parameter's value from what was typed; what is none stays as it is, for REST to judge."""
    if field.kind == "flag":
        return bool(typed)
    return _figure(typed) if field.kind in ("whole", "number") else _object(str(typed))


def _object(typed: str) -> Any:
    """Keras' or a strategy's object, if the text is JSON; else the text."""
    try:
        return json_value(typed) if typed.lstrip().startswith("{") else typed.strip()
    except JsonError:
        return typed.strip()


def _list(typed: str) -> Any:
    """Metrics: a JSON list, or names between commas."""
    if typed.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(typed)
    return [word.strip() for word in typed.split(",") if word.strip()]


def _figure(typed: Any) -> Any:
    """A number from what was typed, whole where it is; else the text."""
    for kind in (int, float):
        try:
            return kind(str(typed).strip())
        except ValueError:
            continue
    return typed
