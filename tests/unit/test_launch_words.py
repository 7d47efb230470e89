"""What a program that ended said last, from its output."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.launchers.words import LONGEST, last_error
from mainstem.runtime.logs import JsonFormatter, TextFormatter

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
    raise KeyError("classes")
"""


def logged(formatter: logging.Formatter, level: int, message: str) -> str:
    """A line of the log, as a Job writes it."""
    record = logging.LogRecord("federated_training", level, "x.py", 1, message, None, None)
    record.federation, record.client = "ddy6heod", "site-a"
    return formatter.format(record)


@pytest.mark.parametrize("formatter", [TextFormatter("training"), JsonFormatter("training")], ids=["text", "json"])
def test_the_log_s_last_error_without_its_time(formatter: logging.Formatter) -> None:
    """Whatever came after it that is no error."""
    lines = [
        logged(formatter, logging.ERROR, "an earlier one"),
        logged(formatter, logging.ERROR, "DATA_TOPIC has 5 records; the federation asks for at least 100"),
        logged(formatter, logging.INFO, "leaving"),
        "W0000 00:00:1 cuda_executor.cc:1] nothing of ours",
        "--- exit code 3 2026-01-01 10:00:00",
    ]
    assert last_error("\n".join(lines)) == "DATA_TOPIC has 5 records; the federation asks for at least 100"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo  \n", "two"),
        ("--- started 10:00\ncannot start /x: no such file\n--- exit code 127\n", "cannot start /x: no such file"),
        ("--- started 10:00\n--- exit code 1 10:01\n", ""),
        (TRACEBACK + "KeyError: 'classes'\nbye\n", "KeyError: 'classes'"),
        (TRACEBACK + "mainstem.errors.ConfigError: INPUT_CONFIG is missing\n",
         "mainstem.errors.ConfigError: INPUT_CONFIG is missing"),
        (json.dumps({"level": "critical", "message": "died", "exception": TRACEBACK + "KeyError: 1"}), "KeyError: 1"),
        (json.dumps(["no entry"]), '["no entry"]'),
        ("{" * 100_000, "{" * LONGEST),
        ("--- started 1\nx ERROR training of the first\n--- exit code 1\n--- started 2\nof the second\n",
         "of the second"),
    ],
)  # fmt: skip
def test_last_words(output: str, said: str) -> None:
    """Of a program that logs nothing, of one that raised, of one that did not start."""
    assert last_error(output) == said


@given(st.text() | st.lists(st.sampled_from(["--- started", "ERROR", "{", " ", "\n", "KeyError: x", "x"])).map("".join))
def test_any_output_has_a_short_answer(output: str) -> None:
    """Never more than a line of so many characters."""
    said = last_error(output)
    assert len(said) <= LONGEST and len(said.splitlines()) <= 1
