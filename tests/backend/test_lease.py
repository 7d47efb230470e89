"""Who has a database: the first who comes; the next one waits, or is refused by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from backend.accounts.models import ApiToken, User
from backend.launchers import lease
from backend.launchers.lease import Holder, Tenure, claim, give_back, living
from backend.launchers.models import Lease
from backend.launchers.process import stand_by
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.processes import identity
from tests.support.patience import PATIENCE, until

pytestmark = pytest.mark.backend


def elsewhere(name: str) -> Holder:
    """A launcher of another machine."""
    return Holder(name, f"launcher {name}", f"host-{name} boot pid:[1]", 7, 70)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until the test ends it."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.mark.django_db
def test_the_first_has_it_until_it_gives_it_back() -> None:
    """The second is told who has it; whoever has it may renew it; given back, it is free at once."""
    first, second = elsewhere("a"), elsewhere("b")
    assert claim(first) is None
    assert claim(first) is None
    other = claim(second)
    assert other is not None
    assert lease.sentence(other).startswith("launcher a, process 7 on host-a, has had this database since 20")
    give_back(second)
    assert claim(second) is not None, "what another has cannot be given back"
    give_back(first)
    assert living() is None
    assert claim(second) is None
    assert claim(first) is not None


@pytest.mark.django_db
def test_one_that_renews_it_no_more_loses_it() -> None:
    """On another machine nobody sees that it died, but its lease runs out."""
    assert claim(elsewhere("a")) is None
    Lease.objects.update(expires_at=timezone.now() - timedelta(milliseconds=1))
    assert claim(elsewhere("b")) is None


@pytest.mark.django_db
def test_a_dead_process_of_this_machine_is_seen_at_once(process: subprocess.Popen[bytes]) -> None:
    """kill -9: its lease has long to run, and the next one has it. One that lives keeps it, however slow it is."""
    assert claim(Holder.of("the first", process.pid), 3600) is None
    Lease.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert claim(Holder.of("the second")) is not None
    Lease.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    process.kill()
    process.wait()
    assert claim(Holder.of("the second")) is None
    held = living()
    assert held is not None and held.pid == os.getpid() and held.start == identity(os.getpid())


class Clock:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.django_db
def test_a_launcher_whose_lease_was_taken_ends() -> None:
    """It was frozen: another has the lease. It does nothing more, also once that one has ended."""
    clock = Clock()
    tenure = Tenure(elsewhere("a"), clock=clock)
    assert tenure.held() and tenure.held()
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim(elsewhere("b")) is None
    clock.now += 30
    assert not tenure.held()
    assert tenure.lost and tenure.other is not None and tenure.other.owner == "b"
    give_back(elsewhere("b"))
    assert not tenure.held()


@pytest.mark.django_db
def test_a_launcher_whose_database_was_made_anew_goes_on() -> None:
    """No row is no other launcher."""
    clock = Clock()
    tenure = Tenure(elsewhere("a"), clock=clock)
    assert tenure.held()
    Lease.objects.all().delete()
    clock.now += 10
    assert tenure.held()
    assert living() is not None


@pytest.mark.django_db
def test_a_launcher_stands_by_and_takes_over(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says for whom it waits, and is ready meanwhile: a rolling update ends the old pod only then."""
    monkeypatch.setattr("backend.launchers.process.close_old_connections", lambda: None)  # the test's transaction
    assert claim(elsewhere("old")) is None
    clock, health, stop = Clock(), Health(), threading.Event()
    tenure = Tenure(elsewhere("new"), clock=clock)
    looks = 0

    class Waits(threading.Event):
        """What goes on while it waits."""

        def wait(self, timeout: float | None = None) -> bool:
            nonlocal looks
            looks += 1
            assert health.ready
            clock.now += 5
            if looks == 3:
                give_back(elsewhere("old"))
            return False

    assert stand_by(tenure, Waits(), 0.5, health)
    assert looks == 3
    assert "launcher old, process 7 on host-old" in caplog.text
    stop.set()
    assert not stand_by(Tenure(elsewhere("third")), stop, 0.5, health)


LOGINS = {"MAINSTEM_ADMIN_PASSWORD": "correct-horse-battery", "MAINSTEM_TOKEN": "a-token", "MAINSTEM_LEASE": "ours"}


def up(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: int | None = None, **more: Any) -> str:
    """What `mainstem up` does to the database; what it says of it."""
    settings.HOME = tmp_path
    for name, value in {**LOGINS, **more}.items():
        monkeypatch.setenv(name, value)
    out = StringIO()
    call_command("claim", pid=pid or os.getpid(), told="`mainstem up` in /home/of/it", stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_a_second_platform_is_refused_and_changes_nothing(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]
) -> None:
    """With secrets of its own it neither takes the admin's password nor the loggers' token; once the first has died,
    it has both, and the first gets its own back when it comes again."""
    assert up(settings, tmp_path, monkeypatch, process.pid) == "changed"
    assert up(settings, tmp_path, monkeypatch, process.pid) == ""
    strange: dict[str, Any] = {
        "MAINSTEM_ADMIN_PASSWORD": "another-password",
        "MAINSTEM_TOKEN": "another",
        "MAINSTEM_LEASE": "theirs",
    }
    with pytest.raises(CommandError, match=r"`mainstem up` in /home/of/it, process \d+ on .* has had this database"):
        up(settings, tmp_path, monkeypatch, **strange)
    with pytest.raises(CommandError, match="give this one a database of its own with DATABASE_URL"):
        call_command("bootstrap", stdout=StringIO())  # as `mainstem rebuild` of another home would
    assert User.objects.get(username="admin").check_password(LOGINS["MAINSTEM_ADMIN_PASSWORD"])
    assert [token.digest for token in ApiToken.objects.all()] == [ApiToken.hash("a-token")]
    process.kill()
    process.wait()
    assert up(settings, tmp_path, monkeypatch, **strange) == "changed"
    assert [token.digest for token in ApiToken.objects.all()] == [ApiToken.hash("another")]
    Lease.objects.update(owner="")
    assert up(settings, tmp_path, monkeypatch) == "changed", "secrets were those of this home at its last start"
    assert [token.digest for token in ApiToken.objects.all()] == [ApiToken.hash("a-token")]


@pytest.mark.django_db
def test_a_platform_of_before_keeps_a_changed_password(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has noted yet of which secrets its logins were made: the password may be a person's."""
    assert up(settings, tmp_path, monkeypatch) == "changed"
    admin = User.objects.get(username="admin")
    admin.set_password("chosen-by-a-person")
    admin.save()
    assert up(settings, tmp_path, monkeypatch) == ""
    Lease.objects.all().delete()
    assert up(settings, tmp_path, monkeypatch) == "changed"
    assert User.objects.get(username="admin").check_password("chosen-by-a-person")
    assert up(settings, tmp_path, monkeypatch, MAINSTEM_ADMIN_PASSWORD="changed-by-its-owner") == "changed"
    assert User.objects.get(username="admin").check_password("changed-by-its-owner")


@pytest.mark.django_db
def test_a_dead_platform_of_another_machine_is_waited_for(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease runs out; one that lives renews it, and is named then."""
    assert up(settings, tmp_path, monkeypatch) == "changed"
    command = "backend.launchers.management.commands.claim.time.sleep"
    Lease.objects.update(owner="far", place="far boot pid:[1]", expires_at=timezone.now() + timedelta(hours=1))
    monkeypatch.setattr(command, lambda _: Lease.objects.update(expires_at=timezone.now() + timedelta(hours=2)))
    with pytest.raises(CommandError, match="on far, has had"):
        up(settings, tmp_path, monkeypatch)
    monkeypatch.setattr(command, lambda _: Lease.objects.update(expires_at=timezone.now()))
    assert up(settings, tmp_path, monkeypatch) == ""


def test_two_launchers_on_one_database(tmp_path: Path) -> None:
    """Real processes with homes of their own: the second stands by, and works once the first was killed."""
    python = [sys.executable, "-m"]
    base = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "MAINSTEM_LEASE")}
    base |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", "MAINSTEM_SECRET_KEY": "k" * 50}
    base |= {"KML_CLOUD_BOOTSTRAP_SERVERS": "127.0.0.1:1", "PYTHONUNBUFFERED": "1"}
    homes = [tmp_path / "a", tmp_path / "b"]
    own = [{**base, "MAINSTEM_HOME": str(home)} for home in homes]
    for home in homes:
        home.mkdir()
    subprocess.run([*python, "backend.manage", "migrate", "--verbosity", "0"], env=own[0], check=True)
    files = [tmp_path / "a.err", tmp_path / "b.err"]
    launchers: list[subprocess.Popen[bytes]] = []
    try:
        for environ, file, says in zip(own, files, ("has the lease", "stands by until that one ends"), strict=True):
            with file.open("wb") as errors:
                launchers.append(subprocess.Popen([*python, "backend.launchers"], env=environ, stderr=errors))
            until(lambda file=file, says=says: says in file.read_text())  # type: ignore[misc]
        assert "has the lease" not in files[1].read_text()
        launchers[0].kill()
        launchers[0].wait()
        until(lambda: "has the lease" in files[1].read_text())
        launchers[1].send_signal(signal.SIGTERM)
        assert launchers[1].wait(PATIENCE) == 0
    finally:
        for launcher in launchers:
            launcher.kill()
            launcher.wait()
