"""What the backend's tests share: a tiny model, a clock, a workshop that answers at once, a browser."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from django.test import Client

from backend.catalog import workshop
from backend.catalog.arrays import npz
from backend.deployments.projection import projection
from mainstem.protocol.topics import control_topic
from mainstem.testing.memory_log import MemoryLog

ARCHITECTURE = json.dumps({"class_name": "Sequential", "config": {"name": "tiny"}})
WEIGHTS = [np.zeros((4, 2), np.float32), np.ones(2, np.float32)]
TENSORS = [
    {"name": "dense/kernel", "dtype": "float32", "shape": [4, 2]},
    {"name": "dense/bias", "dtype": "float32", "shape": [2]},
]


XSS = "<script>alert('x')</script>\"'><img src=x onerror=y>"
"""A name that would be markup."""


def logged_in(user: Any) -> Client:
    """A browser in which this user is logged in."""
    browser = Client()
    browser.force_login(user)
    return browser


def text(response: Any) -> str:
    """The page's source with its entities resolved."""
    return html.unescape(response.content.decode())


def project(log: MemoryLog, federation: str) -> None:
    """What the control logger does, with all that the federation's control topic holds."""
    topic = control_topic(federation)
    projection.take("c", [("t", record) for record in log.read(topic, 0, *log.bounds(topic, 0))])


class Ticking:
    """A clock that goes on by a millisecond whenever it is asked."""

    def __init__(self) -> None:
        self.now = 1_000

    def now_ms(self) -> int:
        """The time."""
        self.now += 1
        return self.now

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.now_ms()


class FakeWorkshop:
    """Answers at once what the real one would say of a tiny model; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.files: dict[str, bytes | Path] = {}
        self.tensors = TENSORS
        self.compile: dict[str, Any] = {"optimizer": "sgd", "loss": "mse", "metrics": [], "learning_rate": 0.5}

    def run(
        self,
        operations: Sequence[Mapping[str, Any]],
        *,
        files: Mapping[str, bytes | Path] | None = None,
        wanted: Sequence[str] = (),
        saved: Mapping[str, Path] | None = None,
        seconds: int | None = None,
        keep: str | None = None,
    ) -> workshop.Result:
        """`workshop.run` without a child process."""
        self.asked += operations
        self.files = dict(files or {})
        answer = {
            "ok": True,
            "architecture": ARCHITECTURE,
            "tensors": self.tensors,
            "input": {"shape": [4], "dtype": "float32"},
            "output": {"shape": [2], "dtype": "float32"},
            "layers": [{"name": "dense", "class": "Dense", "output_shape": [None, 2], "params": 10}],
            "params": 10,
            "compile": self.compile,
        }
        for name, path in (saved or {}).items():
            path.write_bytes(self._file(name))
        return workshop.Result([answer for _ in operations], {name: self._file(name) for name in wanted})

    def _file(self, name: str) -> bytes:
        if name == "y.npy":
            buffer = BytesIO()
            np.save(buffer, np.array([[0.25, 0.75]], np.float32))
            return buffer.getvalue()
        return npz(WEIGHTS) if name.endswith(".npz") else b"a keras file"
