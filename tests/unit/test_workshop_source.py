"""What watches a source: time that is fair on a busy machine, and files that are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from federated_training import workshop_source
from federated_training.workshop_source import Allowance


@pytest.mark.parametrize(
    ("passed", "busy", "over"),
    [
        (59.0, 59.0, None),
        (61.0, 61.0, "60 seconds"),
        (61.0, 200.0, "60 seconds"),  # on several cores
        (30.0, 200.0, None),
        (250.0, 9.0, None),  # TensorFlow starts at a load of 25
        (301.0, 9.0, "300 seconds"),  # asleep
    ],
)
def test_a_busy_machine_is_no_fault_of_the_source(passed: float, busy: float, over: str | None) -> None:
    """The limit is one of processor time; wall time alone ends only what takes many times as long."""
    assert Allowance(60, 300).over(passed, busy) == over


def test_processor_time_is_read_from_the_system() -> None:
    """Of this process it is what Python says, to the clock's tick and some more."""
    memory, threads, busy = workshop_source._usage(os.getpid())
    assert memory > 1 << 20 and threads >= 1
    assert abs(busy - sum(os.times()[:2])) < 0.5
    assert workshop_source._usage(1 << 30) == (0, 0, 0.0)


def test_only_a_plain_file_is_an_answer(tmp_path: Path) -> None:
    """A directory, a link, a pipe, something too long and something that is no text are no answers."""
    answer, other = tmp_path / "answer.json", tmp_path / "other"
    answer.mkdir()
    assert workshop_source._read_plain(answer, 9) is None
    answer.rmdir()
    other.write_text("{}")
    answer.symlink_to(other)
    assert workshop_source._read_plain(answer, 9) is None
    answer.unlink()
    os.mkfifo(answer)
    assert workshop_source._read_plain(answer, 9) is None
    for content, text in ((b"{}", "{}"), (b"x" * 10, None), (b"\xff", None)):
        other.write_bytes(content)
        assert workshop_source._read_plain(other, 9) == text
