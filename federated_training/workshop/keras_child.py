"""The process with Keras in which the workshop's operations are done, confined: both of its ends.

`main` runs in that process and answers one JSON line with one. `Keras` asks it, and begins another one after an
operation that ended it: what crashes Keras is refused, and the next operation is done as if nothing had been.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from federated_training.problems import FieldError
from federated_training.workshop.child import Allowance, ChildLimits, ConfinedProcess
from federated_training.workshop.sandbox import confine

_MAX_ANSWER: Final = 64 << 20

Answer = dict[str, Any]


def main() -> None:
    """Answer the operations on stdin until it ends."""
    # What libraries print must not mix with the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from federated_training.workshop.ops import answer

    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            done = {"ok": True, **answer(request, Path(request["dir"]), request["max_params"])}
        except FieldError as error:
            done = error.answer()
        out.write(json.dumps(done) + "\n")
        out.flush()
    # TensorFlow's own ending takes a second and frees nothing that the system would not.
    os._exit(0)


class Keras:
    """Asks the process with Keras, which works below `places`; use it from the main thread."""

    def __init__(self, places: Sequence[Path], limits: ChildLimits) -> None:
        """Start it, since it takes seconds; `limits.time` is for all that it and its successors do."""
        self._places, self._limits = places, limits
        self._began, self._spent = time.monotonic(), 0.0
        self._over: FieldError | None = None
        self._child = self._start()

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Have one operation done; raises FieldError where it ended the process or nothing may be done any more."""
        if self._over is not None:
            raise self._over
        answer = self._exchange(request)
        if answer is not None:
            return answer
        try:
            raise self._why()
        finally:
            self._spent += self._child.usage.busy
            if self._over is None:
                self._child = self._start()

    def renew(self) -> None:
        """Give what follows the whole time, in another process where this one has ended or has had its lives."""
        self._began, self._spent, self._over = time.monotonic(), 0.0, None
        if not self._child.renew():
            self._child.stop()
            self._child = self._start()

    @property
    def memory(self) -> int:
        """Bytes that the process has, as they were measured last."""
        return self._child.usage.memory

    def stop(self) -> None:
        """End the process; what it had to say to us, a mistake of ours among it, goes to our log."""
        self._child.stop()
        if self._child.tail():
            print(self._child.tail(), file=sys.stderr)

    def _start(self) -> ConfinedProcess:
        allowed, passed = self._limits.time, int(time.monotonic() - self._began)
        left = Allowance(max(1, allowed.seconds - int(self._spent)), max(1, allowed.wall - passed))
        confined = confine.why_not() is None  # elsewhere only what is our own is opened: `workshop` sees to it
        return ConfinedProcess(
            "workshop.keras_child", self._places, replace(self._limits, time=left),
            name="The model", field="model", confined=confined, talks=True,
        )  # fmt: skip

    def _exchange(self, request: Mapping[str, Any]) -> Answer | None:
        with self._child.at_work() as (inbox, outbox):
            try:
                inbox.write(json.dumps(request).encode() + b"\n")
                inbox.flush()
                line = outbox.readline(_MAX_ANSWER)
            except OSError:  # it is gone
                return None
        try:
            answer = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            answer = None
        return answer if isinstance(answer, dict) else None

    def _why(self) -> FieldError:
        child = self._child
        refusal = child.ended()
        if refusal is not None:
            self._over = refusal if child.out_of_time else None
            return refusal
        if child.cannot_be_confined():
            self._over = FieldError("model", f"The model was not opened: {child.tail()[-300:]}")
            return self._over
        return FieldError(
            "model", f"This crashes Keras, whose process {child.how()}: make the model smaller, or give another one."
        )
