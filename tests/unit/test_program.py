"""The shell of every process: what `--help` says, how signals end it, and its exit codes; with real processes."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mainstem.cli.main import main as cli
from mainstem.relay import command
from mainstem.runtime.disk import FLOOR_BYTES
from mainstem.runtime.exits import Exit, table
from mainstem.runtime.program import CODES, Program
from mainstem.runtime.variables import DISK
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CHECKED = (
    "mainstem.aggregator.__main__", "backend.launchers.__main__", "mainstem.operator.__main__",
    "federated_training.job.job", "federated_training.serving.__main__",
    "federated_training.workshop.server", "mainstem.kafka.broker.embedded", "mainstem.kafka.broker.node",
    "control_logger.__main__", "data_control_logger.__main__",
)  # fmt: skip
LOGGERS = ("control_logger.__main__", "data_control_logger.__main__")

HOLDS = """
import argparse, sys, time
from mainstem.runtime.program import Program, run

def work(options, stop):
    print("up", flush=True)
    stop.wait()
    print("asked", flush=True)
    {end}

sys.exit(run(Program("holds", "holds", "Holds on.", {{}}), work, []))
"""
RAISED = """
import time
from mainstem.runtime.program import Termination, raising

with raising():
    try:
        print("up", flush=True)
        time.sleep(600)
    except Termination:
        print("asked", flush=True)
        {end}
"""


def quiet(**more: str) -> dict[str, str]:
    """An environment without a platform."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def program_of(module: str, monkeypatch: pytest.MonkeyPatch) -> Program:
    """What a process says of itself; a logger's is made when it is started."""
    loaded = importlib.import_module(module)
    if module not in LOGGERS:
        return loaded.PROGRAM  # type: ignore[no-any-return]
    seen: list[Program] = []
    monkeypatch.setattr(command, "run", lambda program, work, arguments: seen.append(program))
    loaded.main([])
    return seen[0]


@pytest.mark.parametrize("module", CHECKED)
def test_help_has_the_variables_and_the_exit_codes(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its meaning; each is read somewhere, so none is left over from a variable that was renamed."""
    program = program_of(module, monkeypatch)
    text = program.parser().format_help()
    assert text.startswith(f"usage: python -m {program.module}") and "Exit codes: " in text
    assert max(len(line) for line in text.splitlines()) <= 160
    names = [variable.name for group in program.variables.values() for variable in group]
    assert len(names) == len(set(names)) and {"MAINSTEM_HOME", "MAINSTEM_LOG_LEVEL"} <= set(names)
    code = _code()
    for name in names:
        assert re.search(rf"^  {re.escape(name)}$", text, re.MULTILINE)
        assert f'"{name.rstrip(".")}' in code, name


def _code() -> str:
    """All product code without the variables' descriptions."""
    folders = ("mainstem", "backend", "federated_training", "control_logger", "data_control_logger")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return re.sub(r'Variable\(\s*"', "", "\n".join(path.read_text("utf-8") for path in paths))


def test_the_tables_are_true() -> None:
    """Of exit codes, in docs/operations.md; and the default of the disk's floor."""
    assert table() in (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert {code.value for code in Exit} == {0, 1, 2, 3, 130, 143} and "2 its arguments" in CODES
    assert DISK.default == str(FLOOR_BYTES)


@pytest.mark.parametrize("program", [HOLDS, RAISED], ids=["event", "raised"])
def test_the_second_ctrl_c_ends_at_once_and_another_sigterm_changes_nothing(program: str) -> None:
    """Whoever is busy with its end is not disturbed by who supervises it, but by a person it is."""
    end = "time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program.format(end=end)], env=quiet(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, Exit.TERMINATED), (signal.SIGINT, Exit.INTERRUPTED)])
def test_a_command_that_is_interrupted_says_so(number: signal.Signals, code: Exit, tmp_path: Path) -> None:
    """`mainstem` in the middle of a wait; its exit code tells which signal it was."""
    program = (
        "import sys, time; from mainstem.cli import main, status\n"
        "def run(*_): print('up', flush=True); time.sleep(600)\n"
        "status.run = run; sys.exit(main.main(['status']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=quiet(MAINSTEM_HOME=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stderr.read() == "error: interrupted\n"


@pytest.mark.parametrize("screen", ["on", "off"])
def test_what_cannot_be_used_is_one_sentence(screen: str, tmp_path: Path) -> None:
    """In the log, which is the screen or a file; on standard error in any case, and exactly once."""
    environ = quiet(MAINSTEM_HOME=str(tmp_path), MAINSTEM_LOG_STREAM=screen)
    done = subprocess.run(
        [sys.executable, "-m", "mainstem.aggregator"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.UNUSABLE
    assert done.stderr.count("say where Kafka is: --bootstrap or KML_CLOUD_BOOTSTRAP_SERVERS") == 1
    assert len(done.stderr.splitlines()) == 1
    assert "say where Kafka is" in (tmp_path / "logs" / "aggregator.log").read_text()


def test_the_handlers_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is called within a process leaves its signals as they were."""
    monkeypatch.setenv("MAINSTEM_HOME", str(tmp_path))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert cli(["status"]) in (Exit.ENDED, Exit.FAILED)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
