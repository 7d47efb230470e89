"""`prepare`: the database is migrated once, by whichever process comes first, and others wait for it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from backend.accounts.models import ApiToken, User
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.backend

LOGINS = {"MAINSTEM_ADMIN_PASSWORD": "a-long-password", "MAINSTEM_TOKEN": "a-token"}


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    """The command as a pod's init container runs it."""
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [sys.executable, "-m", "backend.manage", "prepare", *options],
        env=environ | LOGINS | {"MAINSTEM_HOME": str(home), "MAINSTEM_SECRET_KEY": "k" * 50},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_three_at_once_on_an_empty_database_and_one_that_waits(tmp_path: Path) -> None:
    """Nobody fails over a migration that another one makes, and there is one admin and one token."""
    processes = [start(tmp_path), start(tmp_path), start(tmp_path), start(tmp_path, "--wait")]
    for process in processes:
        told, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, told
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM accounts_user WHERE username = 'admin'").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM accounts_apitoken").fetchone() == (1,)


@pytest.mark.django_db
def test_a_changed_password_outlives_a_restart_and_the_token_follows_its_secret(
    monkeypatch: pytest.MonkeyPatch, settings: object, tmp_path: Path
) -> None:
    """What a person changed in the UI is theirs; the loggers' token is the platform's."""
    settings.HOME = tmp_path  # type: ignore[attr-defined]
    for name, value in LOGINS.items():
        monkeypatch.setenv(name, value)
    call_command("prepare", stdout=StringIO())
    admin = User.objects.get(username="admin")
    admin.set_password("chosen-by-a-person")
    admin.save()
    monkeypatch.setenv("MAINSTEM_TOKEN", "another-token")
    call_command("prepare", stdout=StringIO())
    assert User.objects.get(username="admin").check_password("chosen-by-a-person")
    assert [token.digest for token in ApiToken.objects.all()] == [ApiToken.hash("another-token")]
    call_command("bootstrap", stdout=StringIO())
    assert User.objects.get(username="admin").check_password(LOGINS["MAINSTEM_ADMIN_PASSWORD"])


def test_a_database_that_never_is_prepared_is_told_of(tmp_path: Path) -> None:
    """`--wait` gives up in time, with the reason."""
    process = start(tmp_path, "--wait", "--seconds", "0.5")
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "not migrated" in told


@pytest.mark.django_db
def test_waiting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a prepared database `--wait` returns at once, without secrets."""
    for name in LOGINS:
        monkeypatch.delenv(name, raising=False)
    call_command("prepare", "--wait", stdout=StringIO())
    assert not User.objects.filter(username="admin").exists()
    with pytest.raises(CommandError, match="nothing to do"):
        call_command("prepare", stdout=StringIO())
