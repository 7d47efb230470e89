"""Sites whose model differs: which of a run's tensors stay at each site, and what of a site's own model fits.

FedPer: Arivazhagan et al., "Federated Learning with Personalization Layers", 2019 (arXiv:1912.00818). FedBN: Li et al.,
"Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021 (arXiv:2102.07623). HeteroFL: Diao,
Ding, Tarokh, "Computation and Communication Efficient Federated Learning for Heterogeneous Clients", ICLR 2021
(arXiv:2010.01264).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from mainstem.errors import ConfigError
from mainstem.protocol.architecture import layers
from mainstem.protocol.exchange import LOOSE, exchange, no_slice
from mainstem.protocol.messages import Adaptation, Opened, TensorSpec
from mainstem.runtime.words import few

OF_CLASS: Final = "class:"
"""Begins a pattern that names a class of Keras layers: `class:BatchNormalization`."""

State = Literal["fits", "sliced", "kept", "absent", "refused"]
WORDS: Final[Mapping[State, str]] = {
    "fits": "fits", "sliced": "sliced", "kept": "kept at the site", "absent": "not at the site", "refused": "refused",
}  # fmt: skip
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """One tensor, of the federation's model or of a site's: what becomes of it there, and why.

    Shapes are None on the side that does not have it; `number` and `place` are where it stands there.
    """

    tensor: str
    state: State
    shape: tuple[int, ...] | None
    site: tuple[int, ...] | None
    why: str = ""
    number: int | None = None
    place: int | None = None


def check(adaptation: Adaptation) -> None:
    """Refuse what does not go together; ConfigError begins with the field."""
    if adaptation.adapt == "personal" and not adaptation.personal:
        raise ConfigError(
            "personal is empty: where adapt is personal it names the tensors that stay at each site, such as "
            "dense_2/* or class:BatchNormalization"
        )
    if adaptation.personal and adaptation.adapt != "personal":
        raise ConfigError(f"personal means nothing where adapt is {adaptation.adapt}: choose adapt personal")


def personal_of(patterns: Sequence[str], specs: Sequence[TensorSpec], architecture: str) -> tuple[int, ...]:
    """The numbers of the tensors that these patterns name.

    A pattern is a tensor's name with `*` and `?`, with or without the model's own name before it, or `class:` and a
    class of Keras layers. Raises ConfigError where one matches nothing, or nothing is left to be exchanged.
    """
    config = _config(architecture)
    names = [_short(spec.name, config) for spec in specs]
    classes = {layer["config"]["name"]: layer["class_name"] for layer in layers(config)}
    found: set[int] = set()
    for pattern in patterns:
        matching = {
            number
            for number, (spec, name) in enumerate(zip(specs, names, strict=True))
            if _matches(pattern, spec.name, name, classes)
        }
        if not matching:
            layer = any(name.startswith(f"{pattern}/") for name in names)
            raise ConfigError(
                f"personal has {pattern[:80]!r}, which names no tensor of the model; "
                + (f"{pattern[:80]}/* is all of that layer" if layer else f"there are {named(names)}")
            )
        found |= matching
    if not any(spec.dtype.startswith("float") for number, spec in enumerate(specs) if number not in found):
        raise ConfigError("personal keeps every tensor at the sites: leave some of them to be learned together")
    return tuple(sorted(found))


def compared(opened: Opened, specs: Sequence[TensorSpec], architecture: str) -> list[Fit]:
    """What becomes of each tensor of the federation's model at a site with a model of these specs, then of what that
    has beside them. Tensors are the same where their names are, but for the model's own name before them."""
    theirs, mine = _config(opened.architecture), _config(architecture)
    places = {_short(spec.name, mine): place for place, spec in enumerate(specs)}
    adapt, fits = opened.adaptation.adapt, []
    for number, spec in enumerate(exchange(opened).model):
        name = _short(spec.name, theirs)
        place = places.pop(name, None)
        own = None if place is None else specs[place]
        state, why = _judged(adapt, spec, own, number in opened.personal)
        fits.append(Fit(name, state, spec.shape, own.shape if own is not None else None, why, number, place))
    alone: tuple[State, str] = ("kept", "only this site has it") if adapt == "partial" else ("refused", _UNKNOWN)
    return fits + [Fit(name, alone[0], None, specs[p].shape, alone[1], None, p) for name, p in places.items()]


_UNKNOWN: Final = "the federation's model has no such tensor"


def _judged(adapt: str, theirs: TensorSpec, mine: TensorSpec | None, personal: bool) -> tuple[State, str]:
    if mine is None:
        missing = "the site's model has no such tensor"
        return ("absent", missing) if adapt in LOOSE else ("refused", missing)
    if mine.dtype != theirs.dtype:
        return "refused", f"it is {mine.dtype} here and {theirs.dtype} in the federation"
    if personal:
        return ("kept", "personal") if mine.shape == theirs.shape else ("refused", "it has another shape")
    if mine.shape == theirs.shape:
        return "fits", ""
    if adapt == "partial":
        return "kept", "it has another shape"
    if adapt != "slice":
        return "refused", "it has another shape"
    if why := no_slice(theirs.shape, mine.shape):
        return "refused", why
    return "sliced", "the leading part of it"


def named(names: Sequence[str]) -> str:
    """The first of them, and how many there are beside."""
    return few(names, _SHOWN)


def missing(names: Sequence[str]) -> str:
    """A sentence without its full stop, about the tensors that stay at the sites; empty where none do."""
    place = "their place" if len(names) > 1 else "its place"
    said = f"each site keeps {named(names)} to itself: every version has version 0's values in {place}"
    return said if names else ""


def summary(fits: Sequence[Fit]) -> str:
    """How many tensors become what: "3 fits, 1 kept at the site"."""
    counts = Counter(fit.state for fit in fits)
    return ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])


def refusal(fits: Sequence[Fit]) -> str:
    """Why a site's model cannot take part; empty where it can."""
    wrong = [fit for fit in fits if fit.state == "refused"]
    told = "; ".join(f"{fit.tensor}: {fit.why}" for fit in wrong[:_SHOWN])
    return told + (f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")


def _matches(pattern: str, full: str, name: str, classes: Mapping[str, str]) -> bool:
    if pattern.startswith(OF_CLASS):
        wanted = pattern.removeprefix(OF_CLASS)
        return any(classes.get(layer) == wanted for layer in full.split("/")[:-1])
    return fnmatchcase(full, pattern) or fnmatchcase(name, pattern)


def _config(architecture: str) -> Mapping[str, Any]:
    try:
        found = json.loads(architecture)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(name: str, config: Mapping[str, Any]) -> str:
    """A tensor's name without that of the model, which a Sequential one puts before it."""
    inner = config.get("config")
    own = inner.get("name") if isinstance(inner, dict) else None
    return name.removeprefix(f"{own}/") if isinstance(own, str) else name
