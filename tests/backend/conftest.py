"""The backend in tests: users of every role, a message log in memory, a workshop that answers at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import django
import numpy as np
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.config.settings")
os.environ["MAINSTEM_SECRET_KEY"] = "only-for-tests"
django.setup()

# ruff: noqa: E402  models can be imported only now
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from backend.accounts.models import ApiToken, User
from backend.catalog import services, workshop
from backend.catalog.models import Configuration, Model
from backend.deployments import kafka, projection
from mainstem.memory_log import MemoryLog

ARCHITECTURE = json.dumps({"class_name": "Sequential", "config": {"name": "tiny"}})
WEIGHTS = [np.zeros((4, 2), np.float32), np.ones(2, np.float32)]
TENSORS = [
    {"name": "dense/kernel", "dtype": "float32", "shape": [4, 2]},
    {"name": "dense/bias", "dtype": "float32", "shape": [2]},
]


class Ticking:
    """A clock that goes on by a millisecond whenever it is asked."""

    def __init__(self) -> None:
        self.now = 1_000

    def now_ms(self) -> int:
        """The time."""
        self.now += 1
        return self.now


@pytest.fixture(autouse=True)
def _isolated(settings: Any, tmp_path: Path) -> None:
    settings.HOME = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    projection.forget_all()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """The message log that the backend uses in this test."""
    memory = MemoryLog(Ticking())
    monkeypatch.setattr(kafka, "message_log", lambda: memory)
    return memory


@pytest.fixture
def user(db: None) -> Callable[[str], User]:
    """Makes a user of a role."""

    def make(role: str) -> User:
        made = User.objects.create_user(f"the-{role}", password="correct horse")
        made.groups.set([Group.objects.get_or_create(name=role)[0]])
        return made

    return make


@pytest.fixture
def client_of(user: Callable[[str], User]) -> Callable[[str | None], APIClient]:
    """A REST client of a role by token; None is nobody."""
    made: dict[str | None, APIClient] = {}

    def make(role: str | None) -> APIClient:
        if role not in made:
            client = APIClient(raise_request_exception=False)
            if role is not None:
                _, key = ApiToken.issue(user(role))
                client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
            made[role] = client
        return made[role]

    return make


@pytest.fixture
def admin(client_of: Callable[[str | None], APIClient]) -> APIClient:
    """An admin's REST client."""
    return client_of("admin")


class FakeWorkshop:
    """Answers at once what the real one would say of a tiny model; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.files: dict[str, bytes | Path] = {}

    def run(
        self,
        operations: Sequence[Mapping[str, Any]],
        *,
        files: Mapping[str, bytes | Path] | None = None,
        wanted: Sequence[str] = (),
        seconds: int | None = None,
    ) -> workshop.Result:
        """`workshop.run` without a child process."""
        self.asked += operations
        self.files = dict(files or {})
        answer = {
            "ok": True,
            "architecture": ARCHITECTURE,
            "tensors": TENSORS,
            "input": {"shape": [4], "dtype": "float32"},
            "output": {"shape": [2], "dtype": "float32"},
            "layers": [{"name": "dense", "class": "Dense", "output_shape": [None, 2], "params": 10}],
            "params": 10,
            "compile": {"optimizer": "sgd", "loss": "mse", "metrics": [], "learning_rate": 0.5},
        }
        return workshop.Result([answer for _ in operations], {name: self._file(name) for name in wanted})

    def _file(self, name: str) -> bytes:
        if name == "y.npy":
            from io import BytesIO

            buffer = BytesIO()
            np.save(buffer, np.array([[0.25, 0.75]], np.float32))
            return buffer.getvalue()
        return workshop.npz(WEIGHTS) if name.endswith(".npz") else b"a keras file"


@pytest.fixture
def fake_workshop(monkeypatch: pytest.MonkeyPatch) -> FakeWorkshop:
    """Put the fake in the workshop's place."""
    fake = FakeWorkshop()
    monkeypatch.setattr(workshop, "run", fake.run)
    return fake


@pytest.fixture
def model(db: None, fake_workshop: FakeWorkshop) -> Model:
    """A model in the catalog."""
    asked = {"name": "tiny", "description": "", "kind": "template", "template": {"name": "mlp"}, "seed": 0}
    return services.build_model(asked, None)


@pytest.fixture
def configuration(model: Model) -> Configuration:
    """A configuration of one model."""
    made = Configuration.objects.create(name="study")
    made.models.set([model])
    return made
