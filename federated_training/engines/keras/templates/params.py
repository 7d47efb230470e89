"""A template's parameters, each read once, with bounds that keep the model within a training Job's reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from federated_training.problems import FieldError

_ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "sigmoid", "silu", "softplus", "tanh")
_MAX_SIZE = 1 << 20


class TemplateParams:
    """Reads parameters by name with a default; `finish` refuses what no one asked for. Raises FieldError."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping):
            raise FieldError("template.params", "The template's params must be an object.")
        self._given = given
        self._known: list[str] = []

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        value = self._given.get(name)
        return default if value is None else value

    def size(self, name: str, default: int, *, low: int = 1, high: int = _MAX_SIZE) -> int:
        """A whole number from `low` to `high`."""
        return self._whole(name, self._take(name, default), low, high)

    def sizes(self, name: str, default: Sequence[int], *, high: int = 65_536, most: int = 64) -> list[int]:
        """A list of 1 to `most` whole numbers, each from 1 to `high`."""
        value = self._take(name, list(default))
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise self._error(name, f"must be a list of 1 to {most} whole numbers such as {list(default)}")
        return [self._whole(name, item, 1, high) for item in value]

    def shape(self, name: str, default: Sequence[int]) -> list[int]:
        """The shape of one sample."""
        shape = self.sizes(name, default, high=_MAX_SIZE, most=4)
        if math.prod(shape) > 16 * _MAX_SIZE:
            raise self._error(name, f"holds {math.prod(shape):,} values; at most {16 * _MAX_SIZE:,} are allowed")
        return shape

    def rate(self, name: str, default: float) -> float:
        """A number from 0 up to, not including, 1."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise self._error(name, "must be a number from 0 up to, not including, 1")
        return float(value)

    def activation(self, name: str, default: str) -> str:
        """The name of an activation of hidden layers."""
        value = self._take(name, default)
        if value not in _ACTIVATIONS:
            raise self._error(name, f"must be one of {', '.join(_ACTIVATIONS)}")
        return str(value)

    def finish(self) -> None:
        """Refuse parameters that the template does not have."""
        for name in self._given:
            if name not in self._known:
                raise self._error(str(name)[:60], f"is not a parameter here; there are {', '.join(self._known)}")

    def _whole(self, name: str, value: Any, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._error(name, f"must be a whole number from {low} to {high:,}")
        return value

    @staticmethod
    def _error(name: str, what: str) -> FieldError:
        return FieldError(f"template.params.{name}", f"{name} {what}.")
