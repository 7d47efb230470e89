"""The supervisor, the home directory and the secrets, without any broker."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mainstem.errors import BrokerError, ConfigError
from mainstem.platform import plan, secret_settings
from mainstem.platform.children import ProcessChild
from mainstem.platform.home import Home, Running
from mainstem.platform.supervisor import PlatformError, Supervisor
from mainstem.runtime.processes import free_port, identity
from mainstem.runtime.program import Termination
from tests.support.patience import PATIENCE, until


class FakeChild:
    """A child whose life the test decides."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.code: int | None = None
        self.refuses = 0
        self.error: Exception = BrokerError("the port is taken")
        self.lives = True
        self.pid: int | None = 1

    def start(self) -> None:
        if self.refuses:
            self.refuses -= 1
            raise self.error
        self.code = None
        self.journal.append(f"start {self.name}")

    def exit_code(self) -> int | None:
        return self.code

    def heard(self) -> bool:
        return self.lives

    def kill(self) -> None:
        self.code = -signal.SIGKILL
        self.journal.append(f"kill {self.name}")

    def stop(self, timeout: float) -> None:
        self.journal.append(f"stop {self.name}")

    def last_words(self) -> str:
        return "it said goodbye"


class FakeClock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_children_stop_in_reverse_order() -> None:
    """The last started is stopped first."""
    journal: list[str] = []
    supervisor = Supervisor(lambda text: None)
    for name in "abc":
        supervisor.start(FakeChild(name, journal))
    supervisor.stop()
    assert journal == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


def test_a_dead_child_comes_back_after_a_growing_wait() -> None:
    """Each death doubles the wait; a minute of health forgets them; every step is said."""
    journal: list[str] = []
    said: list[str] = []
    clock = FakeClock()
    supervisor = Supervisor(said.append, clock)
    child = FakeChild("web", journal)
    supervisor.start(child)
    for wait in (0.5, 1.0, 2.0):
        child.code = -9
        supervisor.tick()
        assert f"web was killed by SIGKILL; starting it again in {wait:g} s" in said[-1]
        clock.now += wait - 0.01
        supervisor.tick()
        assert child.code == -9
        clock.now += 0.02
        supervisor.tick()
        assert said[-1] == "web runs again"
        assert child.exit_code() is None
    clock.now += 61
    child.code = 3
    supervisor.tick()
    assert "web ended with exit code 3; starting it again in 0.5 s. it said goodbye" in said[-1]


def test_a_child_that_cannot_start_again_is_tried_again() -> None:
    """A refusal while reviving is said and leads to another try, never to the end of the platform."""
    clock, said = FakeClock(), list[str]()
    supervisor = Supervisor(said.append, clock)
    child = FakeChild("kafka", [])
    supervisor.start(child)
    child.code, child.refuses = 1, 1
    supervisor.tick()
    clock.now += 1
    supervisor.tick()
    assert "could not be started again: the port is taken; next try in 1 s" in said[-1]
    clock.now += 1.1
    supervisor.tick()
    assert said[-1] == "kafka runs again"


FULL = OSError(errno.ENOSPC, "No space left on device")


def full(*_: object) -> None:
    """What takes nothing more."""
    raise FULL


def test_a_full_disk_ends_nothing_that_is_watched() -> None:
    """Whatever the supervisor says, writes down or reads, and whatever cannot be started: it goes on, and tries again
    until there is room. A signal goes through all of that."""
    clock, child = FakeClock(), FakeChild("kafka", [])
    supervisor = Supervisor(full, clock)
    supervisor.changed = full
    supervisor.start(child)
    child.code, child.refuses, child.error = 1, 19, FULL
    child.last_words = full  # type: ignore[assignment,method-assign]
    for _ in range(20):
        supervisor.tick()
        clock.now += 30.1
    supervisor.tick()
    assert child.exit_code() is None
    assert child.journal == ["start kafka", "start kafka"]

    def stopped() -> None:
        raise Termination

    supervisor.changed = stopped
    child.code = 1
    with pytest.raises(Termination):
        supervisor.tick()


def test_the_disk_is_named_where_it_is_the_disk() -> None:
    """What is said of a child that cannot be started again is not the name of an error."""
    clock, said = FakeClock(), list[str]()
    supervisor = Supervisor(said.append, clock)
    child = FakeChild("kafka", [])
    supervisor.start(child)
    child.code, child.refuses, child.error = 1, 1, FULL
    supervisor.tick()
    clock.now += 1
    supervisor.tick()
    assert said[-1] == "kafka could not be started again: the disk is full; next try in 1 s"


def test_a_child_that_hangs_is_killed_and_started_again() -> None:
    """Silence is counted from its last sign of life; a child that starts may take longer, and a supervisor that was
    frozen together with everything else blames nobody."""
    clock, said, journal = FakeClock(), list[str](), list[str]()
    supervisor = Supervisor(said.append, clock, hang=60)
    child = FakeChild("aggregator", journal)
    supervisor.start(child)
    supervisor.tick()
    child.lives = False
    clock.now += 3600  # all of it was frozen
    for _ in range(59):
        supervisor.tick()
        clock.now += 1
    assert journal == ["start aggregator"]
    for _ in range(3):
        supervisor.tick()
        clock.now += 1
    assert journal == ["start aggregator", "kill aggregator", "start aggregator"]
    assert "aggregator hangs: no sign of life for 60 s. It is killed." in said
    for _ in range(300):
        supervisor.tick()
        clock.now += 1
    assert journal[3:] == []


def test_a_real_child_that_is_frozen_comes_back(tmp_path: Path) -> None:
    """SIGSTOP: it beats no more, is killed though it is stopped, and another one beats in its place."""
    code = "import time; from mainstem.runtime.metrics.beat import beating\nwith beating(): time.sleep(600)"
    child = ProcessChild("aggregator", [sys.executable, "-c", code], os.environ, tmp_path)
    supervisor = Supervisor(lambda text: None, hang=2.5)
    supervisor.start(child)
    try:

        def beats() -> bool:
            supervisor.tick()
            return supervisor._states[0].heard

        until(beats)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)

        def another() -> bool:
            supervisor.tick()
            return child.pid not in (None, first) and supervisor._states[0].heard

        until(another)
    finally:
        supervisor.stop()


def test_a_loop_that_stands_gives_no_sign_of_life(tmp_path: Path) -> None:
    """A part beats as long as its loops turn, with or without a port for its metrics."""
    code = (
        "import time; from mainstem.runtime.metrics.health import Health; "
        "from mainstem.runtime.metrics.serving import serving\n"
        "health = Health()\nhealth.turn(limit=0.0)\n"
        "with serving('aggregator', health): print('up', flush=True); time.sleep(600)"
    )
    child = ProcessChild("stands", [sys.executable, "-c", code], os.environ, tmp_path)
    child.start()
    try:
        until(lambda: child.output.exists() and "up" in child.output.read_text())
        assert not child.heard()
    finally:
        child.stop(0)


def test_a_death_while_starting_is_final() -> None:
    """Before the platform is ready a dead child is an error that carries its last words."""
    supervisor = Supervisor(lambda text: None)
    child = FakeChild("aggregator", [])
    supervisor.start(child)
    child.code = 2
    with pytest.raises(PlatformError, match="aggregator ended with exit code 2 while starting: it said goodbye"):
        supervisor.check_alive()


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """`stop` waits as long as it was told and then kills the child with its whole session."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    child = ProcessChild("stubborn", [sys.executable, "-c", code], os.environ, tmp_path)
    child.start()
    deadline = time.monotonic() + PATIENCE
    while not child.output.exists() or "up" not in child.output.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.stop(0.3)
    assert child.exit_code() == -signal.SIGKILL
    assert child.last_words().startswith("up (more in")


def test_the_home_belongs_to_one_platform(tmp_path: Path) -> None:
    """A second platform in the same home is refused with a sentence that says where the first is."""
    home = Home(tmp_path / "home")
    home.make()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    program = (
        "import sys, time; from pathlib import Path; from mainstem.platform.home import Home, Running\n"
        f"home = Home(Path({str(home.root)!r}))\n"
        "with home.held():\n"
        "    home.tell(Running(7, 8000, 'http://127.0.0.1:8000', 'x', ready=True))\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert home.is_held()
        with pytest.raises(ConfigError, match=r"already runs in .* \(process 7, http://127.0.0.1:8000\)"), home.held():
            pass
        first.kill()
    assert not home.is_held()
    with home.held():
        pass


def test_what_runs_is_told_and_read_back(tmp_path: Path) -> None:
    """The note about the running platform survives a write and a read; rubbish counts as none."""
    home = Home(tmp_path)
    assert home.running() is None
    told = Running(1, 8001, "http://127.0.0.1:8001", "127.0.0.1:9093", 9093, {"web": (5, 77)}, ready=True)
    home.tell(told)
    assert home.running() == told
    (tmp_path / "running.json").write_text('{"processes": 3}')
    assert home.running() is None


def test_secrets_are_made_once_and_kept_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call makes them in a 0600 file, the second reads them, and the environment wins over both."""
    for name in secret_settings.NAMES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "settings.env"
    first = secret_settings.load_or_make(path)
    assert first.new_password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_settings.load_or_make(path) == (first.values, False)
    monkeypatch.setenv("MAINSTEM_ADMIN_PASSWORD", "mine")
    assert secret_settings.load_or_make(path).values["MAINSTEM_ADMIN_PASSWORD"] == "mine"
    assert "mine" not in path.read_text()
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        secret_settings.load_or_make(path)


def test_each_process_gets_only_the_secrets_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aggregator and loggers see the loggers' token only, the admin's password none of the services."""
    monkeypatch.setenv("MAINSTEM_SECRET_KEY", "key-of-environment")
    monkeypatch.setenv("MAINSTEM_TOKEN_FILE", "/run/token")
    addresses = plan.Addresses(8000, "127.0.0.1:9092", 9092)
    base = plan.environment(Home(tmp_path), addresses, log_json=True)
    secrets = {"MAINSTEM_SECRET_KEY": "k", "MAINSTEM_ADMIN_PASSWORD": "p", "MAINSTEM_TOKEN": "t"}
    got = {
        child.name: {name for name in child.environment if "SECRET" in name or "PASSWORD" in name or "TOKEN" in name}
        for child in plan.processes(base, secrets, addresses, tmp_path)
    }
    assert got["aggregator"] == {"MAINSTEM_TOKEN"}
    assert got["control_logger"] == got["data_control_logger"] == {"MAINSTEM_TOKEN"}
    assert got["web"] == got["launchers"] == {"MAINSTEM_SECRET_KEY"}
    assert base["MAINSTEM_LOG_FORMAT"] == "json"
    assert base["DATA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9092"


def test_ports_stay_where_they_were() -> None:
    """A port that was asked for must be free; otherwise last time's is taken, or the next free one."""
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ConfigError, match=f"--port {port} is already in use"):
            plan.choose_port(port, None, 8000, "--port")
        assert plan.choose_port(None, port, port, "--port") > port
    assert plan.choose_port(None, port, 8000, "--port") == port


def test_identity_tells_a_reused_pid_from_the_old_process() -> None:
    """A process's start time names it; a process that has ended has none."""
    assert identity(os.getpid()) == identity(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert identity(child.pid) is None


def test_the_database_address_goes_only_to_who_needs_it(tmp_path: Path) -> None:
    """It may hold a password: loggers and aggregator have no use for it."""
    base = {"DATABASE_URL": "postgres://user:secret@host/db", "PATH": ""}
    secrets = dict.fromkeys(("MAINSTEM_SECRET_KEY", "MAINSTEM_TOKEN"), "x")
    children = plan.processes(base, secrets, plan.Addresses(8000, "k:9092", None), tmp_path)
    given = {child.name for child in children if "DATABASE_URL" in child.environment}
    assert given == {"web", "launchers"}
