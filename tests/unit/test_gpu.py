"""A GPU is used, or said to be off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mainstem.cli.main import main
from mainstem.runtime import gpu


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the driver of two GPUs shows of them."""
    for place, name in (("0000:01:00.0", "NVIDIA H200"), ("0000:02:00.0", "NVIDIA A100")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 16\n")
    monkeypatch.setattr(gpu, "DRIVER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("off", [None, "", "-1"])
@pytest.mark.usefixtures("driver")
def test_gpus_that_are_off_are_named_with_the_way(off: str | None) -> None:
    """Which, why, and what would use them."""
    told = gpu.unused({} if off is None else {gpu.VARIABLE: off})
    assert told is not None and told.startswith(
        "NVIDIA H200, NVIDIA A100: not used, since training takes the processor"
    )
    assert "set CUDA_VISIBLE_DEVICES (0 to 1)" in told and "tensorflow[and-cuda]" in told


def test_nothing_is_said_where_they_are_used_or_absent(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a driver has none."""
    assert gpu.unused({gpu.VARIABLE: "0"}) is None
    monkeypatch.setattr(gpu, "DRIVER", driver / "nowhere")
    assert gpu.gpus() == [] and gpu.unused({}) is None


def test_doctor_tells(driver: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A note where it is off, ok where it is used or there is none."""
    states = {}
    for name, place, devices in (("off", driver, "-1"), ("on", driver, "0"), ("none", driver / "nowhere", "-1")):
        monkeypatch.setenv(gpu.VARIABLE, devices)
        monkeypatch.setattr(gpu, "DRIVER", place)
        main(["doctor", "--json"])
        found = {entry["what"]: entry for entry in json.loads(capsys.readouterr().out)}["GPU"]
        states[name] = found["state"]
        assert ("CUDA_VISIBLE_DEVICES (0 to 1)" in found["fix"]) is (name == "off")
    assert states == {"off": "note", "on": "ok", "none": "ok"}
