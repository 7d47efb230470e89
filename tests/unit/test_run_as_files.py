"""Every program of the folders whose names are fixed, started as its file or folder, from wherever a person stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]

JOB = (2, "environment variable FEDERATED_MODEL_ID is missing")
LOGGER = (2, "environment variable MAINSTEM_TOKEN (or MAINSTEM_TOKEN_FILE) is missing")
SCRIPT = (0, "--bootstrap HOST:PORT")

PROGRAMS = {
    "federated_training/federated_training.py": ((), *JOB),
    "federated_training": ((), *JOB),
    "federated_training/__main__.py": ((), *JOB),
    "federated_training/serving": ((), 2, "environment variable INPUT_TOPIC is missing"),
    "control_logger": ((), *LOGGER),
    "control_logger/__main__.py": ((), *LOGGER),
    "data_control_logger": ((), *LOGGER),
    "data_control_logger/__main__.py": ((), *LOGGER),
    "inject_scripts/inject_dummy_training_data.py": (("--help",), *SCRIPT),
    "inject_scripts/inject_files.py": (("--help",), *SCRIPT),
}
"""What is started: its arguments, its exit code, and what it says where nothing is set."""


@pytest.mark.parametrize("inside", [False, True], ids=["from the checkout", "from its folder"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_as_a_file(program: str, inside: bool) -> None:
    """As Kafka-ML's documents have it: the folder's own modules hide no package of the same name."""
    arguments, code, says = PROGRAMS[program]
    path = ROOT / program
    place = (path.parent if path.is_file() else path) if inside else ROOT
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KML_CLOUD_BOOTSTRAP_SERVERS": "localhost:1"}
    done = subprocess.run(
        [sys.executable, os.path.relpath(path, place), *arguments], cwd=place, env=environ, check=False,
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert says in done.stdout + done.stderr, done.stderr[-2000:]
    assert done.returncode == code
