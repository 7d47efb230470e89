"""What an encoding is: a change of float elements as fewer bytes, and back, any range of them by itself.

How many bytes it takes follows from the number of elements and the run's parameters alone, so a payload is judged by
its length before memory is taken. Decoding is NumPy, with roundings that IEEE 754 prescribes: the same bytes give the
same elements on every machine. What `encode` rounds off is for error feedback: the next change has it added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import RefusedError
from mainstem.protocol.messages import Reason
from mainstem.runtime.fields import Params

Elements = NDArray[np.float32]
"""A change, one element after the other, in float32."""

Payload = NDArray[np.uint8]
"""The bytes that it is encoded as."""

Fetch = Callable[[int, int], Any]
"""Gives the bytes of a payload from the first place up to the second, as a buffer."""

STRIDE = 1 << 16
"""Elements that are worked on at a time, so that they stay in a processor's cache; a multiple of every block."""


class Encoding:
    """One encoding with its parameters; pure."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for whoever chooses."""
    Params: ClassVar[type[Params]] = Params
    down: ClassVar[bool] = True
    """Whether a version may travel as it."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def nbytes(self, elements: int) -> int:
        """Bytes of the payload of so many elements."""
        raise NotImplementedError

    def encode(self, change: Elements, seed: int) -> Payload:
        """The payload. The seed decides where a rounding is a matter of chance; numbers that are none stay none."""
        raise NotImplementedError

    def feedback(self, wanted: Elements, seed: int) -> Payload:
        """The payload of `wanted`, of which only what it leaves over stays: error feedback adds that to the next one.

        Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al., "Error Feedback Fixes
        SignSGD and other Gradient Compression Schemes", ICML 2019 (arXiv:1901.09847).
        """
        payload = self.encode(wanted, seed)
        fetch, decoded = fetching(payload), np.empty(min(STRIDE, wanted.size), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, wanted.size, STRIDE):
                piece = wanted[start : start + STRIDE]
                self.decode(fetch, wanted.size, start, decoded[: piece.size])
                np.subtract(piece, decoded[: piece.size], out=piece)
        return payload

    def decode(self, fetch: Fetch, elements: int, start: int, into: Elements) -> None:
        """Write the elements from `start` on, as many as `into` has, of a payload of `elements` that `check` passed."""
        raise NotImplementedError

    def check(self, fetch: Fetch, elements: int) -> float:
        """No decoded element is farther from zero than this; raises RefusedError where the payload is not sound."""
        raise NotImplementedError


def whole(encoding: Encoding, payload: Payload, elements: int) -> Elements:
    """All elements of a payload that is in memory."""
    into = np.empty(elements, np.float32)
    encoding.decode(fetching(payload), elements, 0, into)
    return into


def fetching(payload: Payload) -> Fetch:
    """Of a payload that is in memory."""
    return lambda start, stop: payload[start:stop].data


def difference(
    numbers: Sequence[int], made: Sequence[NDArray[Any]], of: Sequence[NDArray[Any]], elements: int
) -> Elements:
    """made - of, of the tensors with these numbers, one after the other."""
    change, at = np.empty(elements, np.float32), 0
    with np.errstate(over="ignore", invalid="ignore"):  # whatever is no float32 is refused
        for number in numbers:
            into = change[at : (at := at + made[number].size)].reshape(made[number].shape)
            np.subtract(made[number], of[number], out=into, casting="same_kind")
    return change


def seed_of(*words: str | int) -> int:
    """128 bits that these words, and nothing else, decide."""
    text = "".join(f"{len(str(word))}:{word}" for word in words).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "little")


def unsound(detail: str) -> RefusedError:
    """The refusal of a payload that no encoder wrote."""
    return RefusedError(Reason.ENCODING, detail)
