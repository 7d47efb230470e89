"""The form of a new deployment: every parameter of REST, with the defaults that REST has."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from backend.catalog.models import Configuration
from backend.config.forms import Form, area, choice, number, text
from backend.config.strict_json import JsonError, json_value
from backend.deployments.plan import OF_MODE
from mainstem.messages import Rules, Training
from mainstem.selection import SELECTIONS
from mainstem.strategies import STRATEGIES
from mainstem.strategies.fedavg import WEIGHTINGS

_RULES, _TRAINING = Rules(rounds=5), Training()

MODES = (
    ("sync", "sync: a round waits for everyone, for a target, or for the deadline"),
    ("buffered", "buffered: a number of updates closes a round; older ones weigh less"),
    ("async", "async: every update makes a version"),
)
SELECTION_HINTS = {
    "all": "everyone who is there",
    "uniform": "some, drawn alike",
    "data_size": "some, drawn by their numbers of examples",
    "label_coverage": "the fewest who have every label between them",
    "speed": "the fastest",
}
PLAIN = (
    "configuration", "model", "name", "federation", "mode", "min_clients", "max_clients", "quorum", "min_data",
    "data_restriction", "round_deadline", "below_quorum", "missed_limit", "wait_limit", "keep_updates", "rounds",
    "batch_size", "epochs", "learning_rate", "class_weight", "seed", "job", "check",
)  # fmt: skip
"""What is sent as it was typed."""
OF_FEDERATION = (
    "mode", "rounds", "min_clients", "max_clients", "quorum", "below_quorum", "missed_limit", "keep_updates",
)  # fmt: skip


class DeploymentForm(Form):
    """A new deployment. It is always bound: at first to its defaults, so that the preview shows them."""

    homes: ClassVar[Mapping[str, str]] = {
        "strategy.name": "strategy",
        "selection.name": "selection",
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
    rounds = number("Rounds", required=True, inputmode="numeric")
    strategy = choice("Strategy", [(name, name) for name in STRATEGIES])
    weighting = choice(
        "Updates weigh", [(name, name) for name in WEIGHTINGS], "By their numbers of examples, or alike."
    )
    strategy_params = area("Parameters of the strategy", 'JSON, such as {"momentum": 0.9}.', rows=2)
    mode = forms.ChoiceField(label="Mode", choices=MODES, widget=forms.RadioSelect)
    target = number("Target", "So many updates close a round; without it everyone is awaited.", inputmode="numeric")
    buffer = number("Buffer", "So many updates close a round.", required=True, inputmode="numeric")
    max_staleness = number("Oldest base", "Commits behind the head.", required=True, inputmode="numeric")
    staleness_exponent = number("Staleness exponent", "An update weighs (1 + age)^-this.", required=True)
    selection = choice("A round asks", [(name, SELECTION_HINTS.get(name, name)) for name in SELECTIONS])
    selection_by = choice("How many", [("fraction", "a fraction of those who are there"), ("count", "a number")])
    selection_number = number("So many", "Such as 0.1, or 10.", required=True)
    min_clients = number("Clients, at least", "The first round opens with so many.", required=True, inputmode="numeric")
    max_clients = number("Clients, at most", required=True, inputmode="numeric")
    quorum = number("Quorum", "Updates that a round needs at its deadline; without it, the least clients.")
    round_deadline = number("A round's deadline", "Seconds.", required=True)
    below_quorum = choice("Too few by then", [("extend", "extend the round"), ("fail", "fail the run")])
    missed_limit = number(
        "Silent deadlines", "After so many in a row a client is not waited for; 0: always.", required=True,
        inputmode="numeric",
    )  # fmt: skip
    wait_limit = number("Give up after", "Seconds without enough clients.", required=True)
    min_data = number("Records of a stream, at least", required=True, inputmode="numeric")
    data_restriction = area("Data restriction", 'JSON that a stream must share exactly: {"set": "digits"}.', rows=2)
    batch_size = number("Batch size", required=True, inputmode="numeric")
    epochs = number("Epochs a round", required=True, inputmode="numeric")
    optimizer = text("Optimizer", "A Keras name, or its JSON object; without one the model's own, else adam.")
    loss = text("Loss", "Likewise; else categorical_crossentropy.")
    metrics = text(
        "Metrics", "Keras names, separated by commas, or a JSON list; without any the model's own, else accuracy."
    )
    learning_rate = number("Learning rate", "Without one: the optimizer's own.")
    class_weight = text("Class weights", 'JSON: how much a sample of a class counts, {"0": 1, "1": 5}; 1 without.')
    seed = number("Seed", "Of what clients draw.", required=True, inputmode="numeric")
    shuffle = forms.BooleanField(label="Shuffle the samples in each epoch")
    keep_updates = number("Keep updates of", "Rounds; older ones are pruned from Kafka. Without it, all stay.")
    job = area("Job settings", 'JSON, where its Jobs differ on Kubernetes: {"memory": "4Gi", "gpus": 1}.', rows=2)
    check = forms.BooleanField(
        label="Try the training settings before anything is created",
        help_text="The workshop compiles the model and trains a step on zeros; takes some seconds.",
    )

    def __init__(self, data: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(data, *arguments, **options)
        self._configurations = list(Configuration.objects.prefetch_related("models").order_by("-created_at", "-id"))
        self._offer("configuration", [(str(c.pk), c.name) for c in self._configurations])
        chosen = next((c for c in self._configurations if str(c.pk) == str(self["configuration"].data)), None)
        models = list(chosen.models.all()) if chosen is not None else []
        first = [("", f"all {len(models)}: a federation each")] if len(models) != 1 else []
        self._offer("model", [*first, *((str(model.pk), model.name) for model in models)])
        if not self.other_strategies:
            del self.fields["strategy_params"]

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @staticmethod
    def defaults(configuration: str = "") -> dict[str, Any]:
        """What the form shows at first."""
        first = Configuration.objects.order_by("-created_at", "-id").values_list("pk", flat=True).first()
        return {
            "configuration": configuration or str(first or ""),
            "federated": "on",
            "rounds": _RULES.rounds,
            "strategy": "fedavg",
            "weighting": WEIGHTINGS[0],
            "mode": _RULES.mode,
            "buffer": _RULES.buffer,
            "max_staleness": _RULES.max_staleness,
            "staleness_exponent": _RULES.staleness_exponent,
            "selection": "all",
            "selection_by": "fraction",
            "selection_number": "0.5",
            "min_clients": _RULES.min_clients,
            "max_clients": _RULES.max_clients,
            "round_deadline": _RULES.deadline_ms // 1000,
            "below_quorum": _RULES.below_quorum,
            "missed_limit": _RULES.missed_limit,
            "wait_limit": _RULES.wait_limit_ms // 1000,
            "min_data": 1,
            "batch_size": _TRAINING.batch_size,
            "epochs": _TRAINING.epochs,
            "seed": _TRAINING.seed,
            **({"shuffle": "on"} if _TRAINING.shuffle else {}),
        }

    @property
    def model_is_offered(self) -> bool:
        """Whether the chosen model is one of the chosen configuration's, or none is chosen."""
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        return self["model"].data in ("", None) or field.valid_value(self["model"].data)

    @property
    def other_strategies(self) -> str:
        """The strategies whose parameters are typed as JSON."""
        return " ".join(name for name in STRATEGIES if name != "fedavg")

    @property
    def choosy_selections(self) -> str:
        """The selections that ask some of the clients only."""
        return " ".join(name for name in SELECTIONS if name != "all")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to deploy yet."""
        return not self._configurations

    def body(self) -> dict[str, Any]:
        """What is sent to REST: without what belongs to another choice, and without what was left empty."""
        sent = self.only(*PLAIN)
        sent["shuffle"] = bool(self["shuffle"].data)
        if self["check"].data:
            sent["check"] = True
        for name in ("optimizer", "loss"):
            if typed := self.only(name).get(name):
                sent[name] = _object(typed)
        if metrics := self.only("metrics").get("metrics"):
            sent["metrics"] = _list(metrics)
        if not self["federated"].data:
            return {name: value for name, value in sent.items() if name not in OF_FEDERATION} | {"federated": False}
        mode = str(self["mode"].data)
        sent |= self.only(*(name for name in OF_MODE.get(mode, ()) if name != "selection"))
        sent["strategy"] = self._strategy()
        selection = str(self["selection"].data)
        if mode == "sync" and selection != "all":
            by = str(self["selection_by"].data)
            sent["selection"] = {"name": selection, "params": {by: _figure(self["selection_number"].data)}}
        return sent

    def _strategy(self) -> dict[str, Any]:
        name = str(self["strategy"].data)
        if name == "fedavg":
            return {"name": name, "params": self.only("weighting")}
        return {"name": name, "params": _object(str(self.only("strategy_params").get("strategy_params", "{}")))}

    def home(self, path: str) -> str | None:
        """A strategy's parameters stand where that strategy has them."""
        if path.startswith("strategy.params"):
            return "weighting" if self["strategy"].data == "fedavg" else "strategy_params"
        return super().home(path)


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
