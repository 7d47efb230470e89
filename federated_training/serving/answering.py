"""Questions in, answers out: one for each, in their order, with the key and every header kept. No I/O, no Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from federated_training.engines.engine import TrainingError
from mainstem.errors import DecodeError
from mainstem.protocol.adapting import named
from mainstem.serving.spec import (
    ANSWERED,
    FEDERATION_HEADER,
    MISSING_HEADER,
    OUTPUTS,
    REFUSED,
    SOURCE_HEADER,
    STATUS_HEADER,
    VALUES,
    VERSION_HEADER,
    Answer,
    Question,
)
from mainstem.streams.codecs import Codec

LONGEST_REASON: Final = 500
"""Characters of a refusal: it may quote the record."""

Array = NDArray[Any]
Predict = Callable[[Array], Array]
"""Samples (n, *input shape) of the model's dtype to outputs (n, *output shape); raises TrainingError."""


class Answerer:
    """Answers for one version of one federation."""

    def __init__(
        self,
        codec: Codec,
        predict: Predict,
        federation: str,
        version: int,
        form: str = OUTPUTS,
        missing: Sequence[str] = (),
    ) -> None:
        """`codec` gives samples as the model takes them, see `samples_codec`; `form` is one of `FORMS`. `missing` are
        the tensors that the version has not as the sites have them."""
        self._codec, self._predict, self._form = codec, predict, form
        told = ((MISSING_HEADER, named(missing).encode()),) if missing else ()
        self._ours = ((FEDERATION_HEADER, federation.encode()), (VERSION_HEADER, str(version).encode()), *told)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question: `{"outputs": ...}` as REST's predict has them (or `values`), or `{"error": "why"}`."""
        samples: list[tuple[Question, Array]] = []
        reasons: dict[int, str] = {}
        for number, question in enumerate(questions):
            try:
                samples.append((question, self._sample(question)))
            except DecodeError as error:
                reasons[number] = str(error)
        outputs = iter(self._outputs([sample for _, sample in samples]))
        answers: list[Answer] = []
        for number, question in enumerate(questions):
            said = reasons[number] if number in reasons else next(outputs)
            answers.append(self.refused(question, said) if isinstance(said, str) else self._answered(question, said))
        return answers

    def refused(self, question: Question, reason: str, *, headers: bool = True) -> Answer:
        """An answer that says why there is no prediction; without the question's headers where they are too long."""
        reason = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 3] + "..."
        value = msgspec.json.encode({"error": reason.encode("utf-8", "replace").decode()})
        kept = question.headers if headers else ()
        headers_ = self._headers(question, kept, REFUSED)
        return Answer(question.place, question.key, value, headers_, refused=True, silent=self._form == VALUES)

    def _answered(self, question: Question, output: Array) -> Answer:
        value = msgspec.json.encode({self._form: output.tolist()})
        headers = self._headers(question, question.headers, ANSWERED)
        return Answer(question.place, question.key, value, headers, refused=False)

    def _headers(
        self, question: Question, kept: Sequence[tuple[str, bytes | None]], status: str
    ) -> list[tuple[str, bytes | None]]:
        source = (SOURCE_HEADER, str(question.place).encode())
        return [*kept, *self._ours, source, (STATUS_HEADER, status.encode())]

    def _sample(self, question: Question) -> Array:
        x, _ = self._codec.decode(None, question.value)  # type: ignore[arg-type]  # None is refused there
        return x

    def _outputs(self, samples: Sequence[Array]) -> list[Array | str]:
        """An output for each sample, or why there is none. One that the model fails on takes no other with it."""
        if not samples:
            return []
        try:
            outputs = self._predict(np.stack(samples))
        except TrainingError as error:
            if len(samples) == 1:
                return [str(error)]
            return [only for sample in samples for only in self._outputs([sample])]
        return [_finite(output) for output in outputs]


def _finite(output: Array) -> Array | str:
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        return "the model's output for this sample is NaN or infinite"
    return output
