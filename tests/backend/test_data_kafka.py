"""Which Kafka the backend and its launcher take for the data's; `tests/unit/test_endpoints.py` has the others."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from backend.launchers.options import Options
from backend.project import settings
from mainstem.platform.home import Home
from tests.unit.test_endpoints import CASES, OTHERS, VARIABLES

LAUNCHER = {**OTHERS, "MAINSTEM_LAUNCHER": "local"}


@pytest.mark.parametrize("case", CASES)
def test_the_backend_and_the_launcher_agree_with_all_others(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's settings, which `rebuild` reads the streams by, and what Jobs are given."""
    values, expected = CASES[case]
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    made = runpy.run_path(settings.__file__)
    assert (made["DATA_BOOTSTRAP"], made["DATA_CLIENT_CONFIG"]) == expected
    options = Options.from_environ({**LAUNCHER, **dict(zip(VARIABLES, values, strict=True))})
    assert (options.data_bootstrap, options.data_client_config) == expected


def test_every_process_takes_the_same_state_directory(tmp_path: Path) -> None:
    """MAINSTEM_HOME, else `.mainstem` where the process was started: backend, commands, Jobs."""
    program = (
        "import json, os; from backend.project import settings; from mainstem.platform.home import Home; "
        "from mainstem.runtime.environ import home; print(json.dumps([str(settings.HOME), str(Home.locate().root), "
        "str(home(os.environ))]))"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": "/nonexistent"}
    for given, expected in ((None, tmp_path / ".mainstem"), ("there", tmp_path / "there")):
        named = {**environ, **({"MAINSTEM_HOME": given} if given else {})}
        told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=named, capture_output=True, check=True)
        assert set(json.loads(told.stdout)) == {str(expected)}
    assert Home.locate(tmp_path).root == tmp_path
