"""The backend in tests: users of every role, a message log in memory, a workshop that answers at once.

MAINSTEM_TEST_DATABASE=postgres runs them on a real PostgreSQL server (`./test.sh --only postgres`), else on SQLite.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest

from tests.support.postgres import Postgres

if os.environ.get("MAINSTEM_TEST_DATABASE", "sqlite") == "postgres":
    server = Postgres()
    atexit.register(server.close)
    server.start()
    os.environ["DATABASE_URL"] = server.url()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
os.environ["MAINSTEM_SECRET_KEY"] = "only-for-tests"
django.setup()

# ruff: noqa: E402  models can be imported only now
from rest_framework.test import APIClient

from backend.accounts.models import ApiToken, User
from backend.accounts.roles import give
from backend.catalog import services, workshop
from backend.catalog.models import Configuration, Model
from backend.deployments.log import kafka
from backend.deployments.log.outbox import publish_pending
from backend.deployments.projection import projection
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import FakeWorkshop, Ticking, project


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
        give(made, role)
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


@pytest.fixture
def federation(admin: APIClient, configuration: Configuration, log: MemoryLog) -> str:
    """A federation that is open and projected: it has version 0."""
    made: str = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    publish_pending(log)
    project(log, made)
    return made
