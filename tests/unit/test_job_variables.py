"""The table of a Job's variables, for `--help` and docs/job-by-hand.md, against the code that reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from federated_training.engines.keras import runtime
from federated_training.job.config import Settings
from federated_training.job.variables import GROUPS, help_text, table
from mainstem.runtime import logs
from mainstem.runtime.environ import optional

PAGE = Path(__file__).resolve().parents[2] / "docs" / "job-by-hand.md"
VARIABLES = {variable.name: variable for variables in GROUPS.values() for variable in variables}
REQUIRED = {
    "FEDERATED_MODEL_ID": "ddy6heod",
    "KML_CLOUD_BOOTSTRAP_SERVERS": "kafka:9092",
    "DATA_TOPIC": "ward",
    "INPUT_CONFIG": "{}",
}


class Watched(dict[str, str]):
    """An environment that knows which names were asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """As a dictionary's."""
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


class Terminal:
    """A stream that colours could go to."""

    def write(self, text: str) -> int:
        """Nowhere."""
        return len(text)

    def flush(self) -> None:
        """Nothing."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def test_the_table_has_what_a_job_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logging_restored: None
) -> None:
    """Settings, logs and Keras' settings are read as a Job reads them: the names asked for are those of the table."""
    environ = Watched(REQUIRED | {"HOME": str(tmp_path)})
    monkeypatch.setattr(os, "environ", environ)
    logs.configure("training", stream=Terminal())  # type: ignore[arg-type]
    Settings.from_environ(environ)
    runtime.environment(tmp_path)
    assert environ.asked - {"HOME"} == set(VARIABLES)


def test_what_is_required_and_what_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable that is set to its default changes nothing; without a required one there is a sentence."""
    monkeypatch.setenv("HOME", str(tmp_path))
    fixed = REQUIRED | {"FEDERATED_CLIENT_ID": "a"}
    usual = Settings.from_environ(fixed)
    for name, variable in VARIABLES.items():
        if variable.default is not None:
            assert Settings.from_environ(fixed | {name: variable.default}) == usual, name
    assert {name for name, variable in VARIABLES.items() if variable.unset == "required"} == set(REQUIRED)
    kept = runtime.environment(tmp_path)
    for name in ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL"):
        assert optional(os.environ, name) or kept[name] == VARIABLES[name].default


def test_the_page_has_the_table() -> None:
    """docs/job-by-hand.md: paste what `federated_training.job.variables.table()` gives between its two marks."""
    page = PAGE.read_text("utf-8")
    assert page.partition("<!-- variables -->\n")[2].partition("<!-- end of variables -->")[0] == table() + "\n"


def test_help_names_each() -> None:
    """`python federated_training/federated_training.py --help`."""
    assert all(f"\n  {name}\n" in "\n" + help_text() for name in VARIABLES)
