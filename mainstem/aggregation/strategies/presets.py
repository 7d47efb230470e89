"""Strategies by name: each a combination of choices with its defaults; `custom` is any other, made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from mainstem.aggregation.strategies.bound import BOUNDS
from mainstem.aggregation.strategies.choice import Choice
from mainstem.aggregation.strategies.client import CLIENTS
from mainstem.aggregation.strategies.fold import FOLDS
from mainstem.aggregation.strategies.server import SERVERS
from mainstem.aggregation.strategies.strategy import Strategy
from mainstem.aggregation.strategies.weigh import WEIGHS
from mainstem.errors import ConfigError
from mainstem.runtime.fields import Field, checked, fields_of, wrong

CHOICES: Final[Mapping[str, Mapping[str, type[Choice]]]] = {
    "weigh": WEIGHS,
    "bound": BOUNDS,
    "fold": FOLDS,
    "server": SERVERS,
    "client": CLIENTS,
}
"""The kinds of choices, and what there is to choose. A choice's name is unlike all others'."""

KINDS: Final[Mapping[str, Field]] = {
    kind: Field(name=kind, kind="choice", title=title, sentence=sentence,
                choices={name: choice.summary for name, choice in CHOICES[kind].items()})
    for kind, title, sentence in (
        ("weigh", "Weigh", "How much each update counts."),
        ("bound", "Bound", "How large an update's change may be."),
        ("fold", "Fold", "How many updates become one."),
        ("server", "Server step", "What the server does with what was folded."),
        ("client", "Clients", "What clients do beside plain training."),
    )
}  # fmt: skip
"""Each kind as a parameter."""


class Own(NamedTuple):
    """A parameter, and the choice that has it: its kind and name; the parameter that makes a choice has none."""

    field: Field
    kind: str = ""
    choice: str = ""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A name for a combination. `free` are the kinds of which people choose, with what they may choose."""

    summary: str
    weigh: str = "examples"
    bound: str = "none"
    fold: str = "mean"
    server: str = "replace"
    client: str = "plain"
    free: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of parameters, where they are others than their choice's."""

    def parameters(self) -> Sequence[Own]:
        """What can be asked for, each parameter behind what chooses it."""
        return self._parameters

    @cached_property
    def _parameters(self) -> Sequence[Own]:
        return tuple(self._each())

    def _each(self) -> Iterator[Own]:
        for kind in CHOICES:
            default = getattr(self, kind)
            offered = self.free.get(kind, (default,))
            if len(offered) > 1:
                choices = {name: CHOICES[kind][name].summary for name in offered}
                yield Own(replace(KINDS[kind], default=default, choices=choices))
            for name in offered:
                for own in fields_of(CHOICES[kind][name].Params).values():
                    yield Own(replace(own, default=self.defaults.get(own.name, own.default)), kind, name)

    def chosen(self, params: Mapping[str, Any]) -> dict[str, type[Choice]]:
        """The choices by kind; raises ConfigError naming what is wrong."""
        names = {kind: getattr(self, kind) for kind in CHOICES}
        for own in self.parameters():
            if not own.choice and own.field.name in params:
                name = params[own.field.name]
                if not isinstance(name, str) or name not in (own.field.choices or {}):
                    raise wrong(own.field, name, PATH)
                names[own.field.name] = name
        return {kind: CHOICES[kind][name] for kind, name in names.items()}


PATH: Final = "strategy.params.{}".format
_WEIGHED: Final = {"weigh": ("examples", "equal")}

STRATEGIES: Mapping[str, Preset] = {
    "fedavg": Preset(summary="The mean of the clients' models.", free=_WEIGHED),
    "fedavgm": Preset(
        summary="The server steps along the clients' mean change with momentum.", server="momentum", free=_WEIGHED
    ),
    "fedadagrad": Preset(
        summary="The server steps with Adagrad along the clients' mean change.", server="adagrad", free=_WEIGHED
    ),
    "fedadam": Preset(
        summary="The server steps with Adam along the clients' mean change.", server="adam", free=_WEIGHED
    ),
    "fedyogi": Preset(
        summary="The server steps with Yogi along the clients' mean change.", server="yogi", free=_WEIGHED
    ),
    "median": Preset(
        summary="Each number of the model is the clients' median: a few wrong ones do not move it far.",
        weigh="equal", fold="median",
    ),
    "trimmed_mean": Preset(
        summary="Of each number of the model the lowest and highest clients are cut off, then the mean.",
        weigh="equal", fold="trimmed_mean",
    ),
    "krum": Preset(
        summary="The one update that the others lie closest to: up to so many hostile clients do no harm.",
        weigh="equal", fold="krum",
    ),
    "multi_krum": Preset(
        summary="The mean of those updates that the others lie closest to: as krum, but learns from more clients.",
        weigh="equal", fold="multi_krum",
    ),
    "bulyan": Preset(
        summary="Krum takes most updates, then of each number those nearest to the median are averaged.",
        weigh="equal", fold="bulyan",
    ),
    "geometric_median": Preset(
        summary="The point nearest to all updates: fewer than half hostile ones do not move it far.",
        weigh="equal", fold="geometric_median", free=_WEIGHED,
    ),
    "centred_clipping": Preset(
        summary="Changes are shortened towards a centre, which is moved to their mean again and again.",
        weigh="equal", fold="centred_clipping", free=_WEIGHED,
    ),
    "norm_bounding": Preset(
        summary="The mean of changes, each shortened to a largest norm: nobody moves the model further than that.",
        weigh="equal", bound="clip", free=_WEIGHED,
    ),
    "fedprox": Preset(
        summary="Clients are held near the last version while they train.", client="proximal", free=_WEIGHED
    ),
    "scaffold": Preset(
        summary="Clients correct their gradients by how theirs differ from everybody's (SGD only).",
        weigh="equal", client="scaffold",
    ),
    "fednova": Preset(
        summary="Who makes more local steps counts no more for that (SGD only).", weigh="steps", fold="sum"
    ),
    "qfedavg": Preset(
        summary="Those count more for whom the model is worse, so that it serves all alike.", weigh="loss", fold="sum"
    ),
    "bagging": Preset(
        summary="Every client adds trees to the forest, which count by its share (models of kind forest only).",
        fold="concatenate", free=_WEIGHED,
    ),
    "custom": Preset(
        summary="A combination made by hand: how updates are weighed, bounded and folded, and how the server steps.",
        free={kind: tuple(choices) for kind, choices in CHOICES.items() if len(choices) > 1},
    ),
}  # fmt: skip
"""A new one is a line here."""

OF_NUMBERS: Sequence[str] = [name for name, preset in STRATEGIES.items() if not FOLDS[preset.fold].grows]
"""Those that make numbers of numbers; the others grow forests."""


def make(name: str, params: Mapping[str, Any]) -> Strategy:
    """The strategy of that name; raises ConfigError naming what is wrong."""
    if name not in STRATEGIES:
        raise ConfigError(f"strategy.name {name[:40]!r} is not known; choose one of {', '.join(sorted(STRATEGIES))}")
    preset = STRATEGIES[name]
    chosen = preset.chosen(params)
    names = {kind: choice.name for kind, choice in chosen.items()}
    known = [own.field.name for own in preset.parameters() if names.get(own.kind, own.choice) == own.choice]
    for given in params:
        if given not in known:
            combined = "this combination" if len(preset.free) > 1 else name
            there = ", ".join(dict.fromkeys(known)) or "none"
            raise ConfigError(f"{PATH(str(given)[:60])} is not a parameter of {combined}; there are {there}")
    made = {kind: choice(_params(choice, preset, params)) for kind, choice in chosen.items()}
    strategy = Strategy(*made.values())  # type: ignore[arg-type]
    for choice in strategy.choices:
        if said := choice.clash(made):
            raise ConfigError(PATH(said))
    return strategy


def _params(choice: type[Choice], preset: Preset, params: Mapping[str, Any]) -> Any:
    given = {n: value for n, value in {**preset.defaults, **params}.items() if n in fields_of(choice.Params)}
    return checked(choice.Params, given, f"not a parameter of {choice.name}", PATH)
