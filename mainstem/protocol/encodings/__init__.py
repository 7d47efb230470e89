"""How changes travel in fewer bytes, one family a file. A new encoding derives from `Encoding` and is added to
`ENCODINGS`."""

from __future__ import annotations

from collections.abc import Mapping

from mainstem.errors import ConfigError
from mainstem.protocol.encodings.codec import (
    Elements,
    Encoding,
    Fetch,
    Payload,
    difference,
    fetching,
    seed_of,
    whole,
)
from mainstem.protocol.encodings.halves import BFloat16, Float16
from mainstem.protocol.encodings.scaled import Int4, Int8
from mainstem.protocol.encodings.sparse import TopK
from mainstem.protocol.messages import EncodingChoice
from mainstem.runtime.fields import checked

__all__ = [
    "ENCODINGS",
    "ONLY_UP",
    "RAW",
    "Elements",
    "Encoding",
    "Fetch",
    "Payload",
    "difference",
    "fetching",
    "make",
    "seed_of",
    "whole",
]

RAW = "raw"
"""The name of no encoding: whole tensors, as they are."""

ENCODINGS: Mapping[str, type[Encoding]] = {kind.name: kind for kind in (Float16, BFloat16, Int8, Int4, TopK)}

ONLY_UP = tuple(name for name, kind in ENCODINGS.items() if not kind.down)
"""Those that no version travels as."""


def make(choice: EncodingChoice, field: str = "encoding") -> Encoding | None:
    """The encoding that is chosen, None for `raw`; raises ConfigError, which begins with `field`."""
    if choice.name == RAW and not choice.params:
        return None
    if choice.name == RAW:
        raise ConfigError(f"{field}.params: {RAW} has no parameters")
    if choice.name not in ENCODINGS:
        known = ", ".join([RAW, *ENCODINGS])
        raise ConfigError(f"{field}.name {choice.name[:40]!r} is not known; choose one of {known}")
    kind = ENCODINGS[choice.name]
    return kind(checked(kind.Params, choice.params, f"not a parameter of {choice.name}", (field + ".params.{}").format))
