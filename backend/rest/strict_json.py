"""JSON from outside: what cannot be kept as it was sent is refused, by its place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

DEEPEST: Final = 64
"""Lists and objects within one another; a deployment's columns keep no more."""

_UNKEPT: Final = re.compile("[\0\ud800-\udfff]")
_ESCAPED: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class JsonError(ValueError):
    """A sentence that says why text is no JSON, or cannot be kept; `field` is the dotted path of the value to blame."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def json_value(text: str) -> Any:
    """The value that `text` holds; raises JsonError.

    Refused are what Python's parser takes beyond RFC 8259 (NaN, Infinity), numbers that no float64 holds, a name that
    is given twice, NUL and lone surrogates in text, and nesting deeper than DEEPEST.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
        odd = ("\\u" in text and _ESCAPED.search(text)) or (not text.isascii() and _UNKEPT.search(text))
        if not odd and _plain(value):
            return value
        json.loads(text, parse_float=_finite)
    except RecursionError as error:
        raise JsonError(_TOO_DEEP) from error
    except JsonError:
        raise
    except ValueError as error:
        raise JsonError(f"This is not JSON: {error}.") from error
    check_keepable(value)
    return value


def _plain(value: Any) -> bool:
    """Whether it is nested at most DEEPEST deep and without infinities; level by level, at a list's own speed."""
    level: list[Any] = [[value]]
    for _ in range(DEEPEST + 1):
        values = list(chain.from_iterable(one.values() if type(one) is dict else one for one in level))
        if math.inf in values or -math.inf in values:
            return False
        level = [inner for inner in values if type(inner) is list or type(inner) is dict]
    return not level


def check_keepable(value: Any) -> None:
    """Raise JsonError where a value holds what JSON or a database cannot."""
    level: list[tuple[str, Any]] = [("", {"": value})]
    for _ in range(DEEPEST + 1):
        level = [inner for path, container in level for inner in _containers(path, container)]
        if not level:
            return
    raise JsonError(_TOO_DEEP, level[0][0].partition(".")[0])


def _containers(path: str, container: Any) -> Iterator[tuple[str, Any]]:
    """The lists and objects within one, with their paths; raises JsonError at a text or number that cannot be kept."""
    names: Iterator[tuple[Any, Any]] = iter(
        container.items() if isinstance(container, Mapping) else enumerate(container)
    )
    for name, inner in names:
        if isinstance(inner, str):
            problem = _UNKEPT_TEXT if _UNKEPT.search(inner) else ""
        elif isinstance(inner, float):
            problem = "" if math.isfinite(inner) else f"{inner} is no number that JSON can hold."
        else:
            problem = ""
        if isinstance(name, str) and _UNKEPT.search(name):
            problem = f"The name {name[:100]!r}: {_UNKEPT_TEXT}"
        elif not problem and not isinstance(inner, Mapping | list | tuple):
            continue
        place = f"{path}.{name}" if path else str(name)
        if problem:
            raise JsonError(problem, _UNKEPT.sub("?", place))
        yield place, inner


_TOO_DEEP: Final = f"This is nested more than {DEEPEST} levels deep."
_UNKEPT_TEXT: Final = "This text holds a NUL or half of a surrogate pair, which no database keeps: leave it out."


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError(f"{text[:40]} is larger than any number that can be kept.")
    return value


def _no_constant(text: str) -> Any:
    raise JsonError(f"This is not JSON: {text} is no number there.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise JsonError(f"{twice[:100]!r} is given twice.")
    return made
