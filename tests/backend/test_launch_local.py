"""The local launcher over real processes: killed, adopted, stopped, and bounded."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.launchers.local.launcher import LocalLauncher
from backend.launchers.local.supervise import LOG_BYTES
from mainstem.errors import ConfigError, LaunchRefused
from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import JobSpec
from tests.support.patience import PATIENCE, until

NAME = "federated-training-ddy6heod-0123456789ab"
SPEC = JobSpec(
    cloud_bootstrap="cloud:9092",
    data_bootstrap="data:9092",
    data_topic="t:0:0:10",
    input_format="RAW",
    input_config="{}",
    federation="ddy6heod",
    client_id="t-0123456789ab",
)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Callable[[str], LocalLauncher]]:
    """Makes a launcher whose Jobs run the given Python program; nothing survives the test."""

    def make(program: str) -> LocalLauncher:
        return LocalLauncher(tmp_path, command=[sys.executable, "-c", program])

    yield make
    left = make("").end([NAME], PATIENCE)
    assert left == []


def child_of(directory: Path) -> int:
    """The process id that the program wrote into its directory."""
    file = directory / NAME / "child"
    until(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


SLEEPER = "import os, time; open('child', 'w').write(str(os.getpid())); time.sleep(600)"


@pytest.mark.parametrize(
    ("code", "state", "detail"), [(0, "succeeded", ""), (3, "failed", "exit code 3: hello from the Job")]
)
def test_exit_code_and_log_are_kept(
    launcher: Callable[[str], LocalLauncher], code: int, state: str, detail: str
) -> None:
    """A Job's end is known from its exit code, also to a launcher that did not start it."""
    first = launcher(f"print('hello from the Job'); raise SystemExit({code})")
    first.launch(NAME, SPEC)
    until(lambda: first.status(NAME).state != "running")
    another = launcher("")
    assert another.status(NAME) == JobStatus(NAME, state, code, detail)
    assert "hello from the Job" in another.log(NAME)
    assert f"exit code {code}" in another.log(NAME)


def test_the_last_error_is_of_the_newest_attempt(launcher: Callable[[str], LocalLauncher]) -> None:
    """What an attempt before it said is in the log, and not in the verdict."""
    for program, detail in (
        ("import sys; sys.exit('2026-01-01 10:00:00.000 ERROR    training [client=a] DATA_TOPIC has 5 records')",
         "exit code 1: DATA_TOPIC has 5 records"),
        ("raise KeyError('classes')", "exit code 1: KeyError: 'classes'"),
        ("raise SystemExit(1)", "exit code 1"),
    ):  # fmt: skip
        job = launcher(program)
        job.launch(NAME, SPEC)
        until(lambda job=job: job.status(NAME).state != "running")  # type: ignore[misc]
        assert job.status(NAME) == JobStatus(NAME, "failed", 1, detail)
        job.stop(NAME)
    assert "DATA_TOPIC has 5 records" in job.log(NAME)


def test_environment_is_the_job_s_and_nothing_else(
    launcher: Callable[[str], LocalLauncher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job gets its settings and where its site's key is, and none of the backend's secrets."""
    monkeypatch.setenv("MAINSTEM_SITE_KEY_FILE", "/somewhere/site.key")
    monkeypatch.setenv("MAINSTEM_SECRET_KEY", "hush")
    monkeypatch.setenv("DATABASE_URL", "postgres://hush")
    monkeypatch.setenv("MAINSTEM_TOKEN", "hush")
    job = launcher("import os; print(sorted(os.environ.items()))")
    job.launch(NAME, SPEC)
    until(lambda: job.status(NAME).state == "succeeded")
    text = job.log(NAME)
    assert "('FEDERATED_CLIENT_ID', 't-0123456789ab')" in text and "('DATA_TOPIC', 't:0:0:10')" in text
    assert "('MAINSTEM_SITE_KEY_FILE', '/somewhere/site.key')" in text
    assert "hush" not in text and "DATABASE_URL" not in text


def test_a_job_is_started_once(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """Launching what runs does nothing, whoever asks."""
    job = launcher("import os, time; open('starts', 'a').write('x'); time.sleep(600)")
    for _ in range(5):
        job.launch(NAME, SPEC)
        launcher("raise SystemExit(1)").launch(NAME, SPEC)
    starts = tmp_path / NAME / "starts"
    until(starts.exists)
    assert job.status(NAME).state == "running"
    assert starts.read_text() == "x"


def test_a_killed_job_is_seen_as_killed(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """SIGKILL of the training process shows as that."""
    job = launcher(SLEEPER)
    job.launch(NAME, SPEC)
    os.kill(child_of(tmp_path), signal.SIGKILL)
    until(lambda: job.status(NAME).state != "running")
    assert job.status(NAME) == JobStatus(NAME, "failed", -9, "killed by SIGKILL")


LEAVES = (
    "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(143))\n"
    "open('child', 'w').write(str(os.getpid()))\ntime.sleep(600)"
)
"""A Job that leaves when it is asked to, as the training program does."""


@pytest.mark.parametrize(("program", "code"), [(LEAVES, 143), (SLEEPER, -15)])
@pytest.mark.parametrize("whom", ["the Job", "its supervisor"])
def test_a_job_that_is_asked_to_end_has_not_failed(
    launcher: Callable[[str], LocalLauncher], tmp_path: Path, program: str, code: int, whom: str
) -> None:
    """Whoever is sent SIGTERM: as on a cluster that is an interruption, and `stop` forgets it."""
    job = launcher(program)
    job.launch(NAME, SPEC)
    child = child_of(tmp_path)
    os.kill(child if whom == "the Job" else int((tmp_path / NAME / "pid").read_text()), signal.SIGTERM)
    until(lambda: job.status(NAME).state != "running")
    assert job.status(NAME) == JobStatus(NAME, "interrupted", code, "was asked to end (SIGTERM)")
    job.stop(NAME)
    assert job.status(NAME).state == "absent"


def test_a_killed_supervisor_takes_its_job_along(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """No Job runs without a supervisor: the next attempt must not meet the one before it."""
    job = launcher(SLEEPER)
    job.launch(NAME, SPEC)
    child = child_of(tmp_path)
    os.kill(int((tmp_path / NAME / "pid").read_text()), signal.SIGKILL)
    until(lambda: gone(child))
    until(lambda: job.status(NAME).state == "failed")
    assert "supervisor" in job.status(NAME).detail
    job.launch(NAME, SPEC)
    assert job.status(NAME).state == "running"


def test_jobs_outlive_a_killed_launcher_and_are_adopted(
    launcher: Callable[[str], LocalLauncher], tmp_path: Path
) -> None:
    """The launcher's process is killed; its Job goes on, the next launcher sees it, and learns how it ends."""
    program = (
        "import os, time\nopen('child', 'w').write(str(os.getpid()))\nwhile not os.path.exists('go'): time.sleep(0.02)"
    )
    starter = (
        "import os, sys, time; from pathlib import Path\n"
        "from backend.launchers.local.launcher import LocalLauncher\n"
        "from mainstem.jobs.spec import JobSpec\n"
        f"launcher = LocalLauncher(Path({str(tmp_path)!r}), command=[sys.executable, '-c', {program!r}])\n"
        f"launcher.launch({NAME!r}, {SPEC!r})\n"
        "time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", starter], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    child = child_of(tmp_path)
    process.kill()
    process.wait()
    successor = launcher("raise SystemExit(1)")
    assert successor.status(NAME).state == "running"
    successor.launch(NAME, SPEC)
    assert not gone(child)
    (tmp_path / NAME / "go").touch()
    until(lambda: successor.status(NAME).state == "succeeded")


def test_stop_ends_the_whole_group_and_forgets(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """Also a Job that ignores SIGTERM and has children of its own, after the grace; its log stays."""
    job = launcher(
        "import os, signal, subprocess, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "p = subprocess.Popen(['sleep', '600'])\nopen('child', 'w').write(str(p.pid))\n"
        "print('started')\ntime.sleep(600)"
    )
    job.launch(NAME, SPEC)
    grandchild = child_of(tmp_path)
    begin = time.monotonic()
    job.stop(NAME)
    assert time.monotonic() - begin < 1
    assert job.status(NAME).state == "running"
    assert job.end([NAME], PATIENCE) == []
    assert job.status(NAME).state == "absent"
    until(lambda: gone(grandchild))
    assert "started" in job.log(NAME)


def test_log_is_bounded(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """A Job that prints without end fills no disk; its last lines are kept."""
    job = launcher("for n in range(200_000): print('line', n, 'x' * 40)")
    job.launch(NAME, SPEC)
    until(lambda: job.status(NAME).state == "succeeded")
    size = sum((tmp_path / NAME / file).stat().st_size for file in ("log", "log.1"))
    assert size <= 2 * LOG_BYTES + 65536
    assert "line 199999 " in job.log(NAME)
    assert LOG_BYTES < len(job.log(NAME, 10 * LOG_BYTES)) <= size


def test_unknown_and_impossible_names(launcher: Callable[[str], LocalLauncher]) -> None:
    """A Job that never ran is absent; a name that is a path is refused."""
    job = launcher("")
    assert job.status("federated-training-none") == JobStatus("federated-training-none", "absent")
    assert job.log("federated-training-none") == ""
    job.stop("federated-training-none")
    with pytest.raises(ConfigError):
        job.log("../secrets")


def test_a_command_that_cannot_start_fails(tmp_path: Path) -> None:
    """The log says why."""
    job = LocalLauncher(tmp_path, command=["/does/not/exist"])
    job.launch(NAME, SPEC)
    until(lambda: job.status(NAME).state == "failed")
    assert "cannot start" in job.log(NAME)


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which takes nothing: ENOSPC")
def test_a_full_disk_fails_no_job(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """Its supervisor waits until it can write down that the Job runs, and how it ended; meanwhile it can be stopped."""
    home = tmp_path / NAME
    home.mkdir()
    for file in ("pid.new", "exit.new"):
        (home / file).symlink_to(FULL)
    job = launcher("print('trained')")
    job.launch(NAME, SPEC)
    assert job.status(NAME).state == "running"
    (home / "pid.new").unlink()  # there is room
    until(lambda: "exit code 0" in job.log(NAME))
    assert job.status(NAME).state == "running"
    (home / "exit.new").unlink()
    until(lambda: job.status(NAME).state == "succeeded")
    (home / "pid.new").symlink_to(FULL)
    job.launch(NAME, SPEC)
    assert job.end([NAME], PATIENCE) == []


def test_a_disk_without_room_for_a_job_is_no_failure_of_it(
    launcher: Callable[[str], LocalLauncher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for now, as a cluster's quota would; a directory that cannot be written at all is an error."""
    job = launcher("")
    for number, error, said in (
        (errno.ENOSPC, LaunchRefused, "the disk is full: there is no room for the Job's directory"),
        (errno.EACCES, ConfigError, "cannot be written"),
    ):

        def refuse(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, "no")

        with monkeypatch.context() as patched, pytest.raises(error, match=said):
            patched.setattr(Path, "touch", refuse)
            job.launch(NAME, SPEC)


def test_a_supervisor_whose_directory_is_gone_ends(launcher: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    """It waits for room, and for nothing else: otherwise it would stay for ever."""
    job = launcher(SLEEPER)
    job.launch(NAME, SPEC)
    child = child_of(tmp_path)
    supervisor = int((tmp_path / NAME / "pid").read_text())
    shutil.rmtree(tmp_path / NAME)
    os.kill(child, signal.SIGKILL)
    until(lambda: gone(supervisor))
