"""`mainstem adapt`: a site's own model beside the federation's, built by the real workshop."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainstem.cli import source
from mainstem.cli.main import main
from mainstem.jobs.narrowing import narrowed
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Adaptation, Opened, encode
from mainstem.protocol.topics import control_topic, federation_topics
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.training.bench import Bench

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def bench() -> Bench:
    """A model with batch normalization."""
    return Bench()


def opened_with(bench: Bench, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Opened:
    """The bench's run, changed so, as the one that the command reads."""
    federation = bench.opened.federation
    run = msgspec.structs.replace(bench.opened, **changes)
    run = msgspec.structs.replace(run, topics=msgspec.structs.replace(run.topics, **topics(federation)))
    log = MemoryLog(SystemClock())
    log.create_topics(federation_topics(federation))
    log.append(control_topic(federation), [Outgoing(encode(run))])

    @contextlib.contextmanager
    def opened(*_: Any) -> Iterator[tuple[MemoryLog, str]]:
        yield log, federation

    monkeypatch.setattr(source, "opened", opened)
    return run


def topics(federation: str) -> dict[str, str]:
    """Where its records stand."""
    control, data, aggregator = (spec.name for spec in federation_topics(federation))
    return {"control": control, "data": data, "aggregator": aggregator}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the JSON."""
    code = main(["adapt", *arguments, "--federation", "abcdefgh", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_the_federation_s_own_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which tensors stay at the sites; as a table, and as JSON."""
    personal = tuple(n for n, spec in enumerate(bench.specs) if "batch_normalization" in spec.name)
    opened_with(bench, monkeypatch, adaptation=Adaptation(adapt="personal", personal=("class:X",)), personal=personal)
    code, found = told(capsys)
    assert (code, found["adapt"], found["fits"], found["why"]) == (0, "personal", True, "")
    states = {tensor["tensor"]: tensor["state"] for tensor in found["tensors"]}
    assert {name for name, state in states.items() if state == "kept"} == {
        f"batch_normalization/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    assert set(states.values()) == {"fits", "kept"}
    assert main(["adapt", "--federation", "abcdefgh"]) == 0
    shown = capsys.readouterr().out
    assert "kept at the site" in shown and "4 kept at the site" in shown


def test_a_width_is_built_and_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a Job of half the width would send."""
    opened_with(bench, monkeypatch, adaptation=Adaptation(adapt="slice"))
    code, found = told(capsys, "0.5")
    assert code == 0 and found["fits"]
    shapes = {t["tensor"]: (t["state"], t["site"]) for t in found["tensors"]}
    assert shapes["dense/kernel"] == ("sliced", [6, 4]) and shapes["dense_1/kernel"] == ("sliced", [4, 3])
    assert shapes["dense_1/bias"] == ("fits", [3])


def test_a_model_that_does_not_fit_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Tensor by tensor, exit code 1; what is no model is named, with the way out."""
    opened_with(bench, monkeypatch, adaptation=Adaptation(adapt="slice"))
    wider = tmp_path / "wider.json"
    wider.write_text(narrowed(bench.opened.architecture.replace('"units":8', '"units":32'), 0.5))
    code, found = told(capsys, str(wider))
    assert code == 1 and "dense/kernel: its dimension 1 is 16, the federation's 8" in found["why"]
    for model, says, exit_code in (
        (str(tmp_path / "none.keras"), "is no file and no width from 0 to 1; see `mainstem adapt --help`", 2),
        ("1.5", "it must be above 0 and at most 1", 1),
    ):
        assert main(["adapt", model, "--federation", "abcdefgh"]) == exit_code
        assert says in " ".join(capsys.readouterr().err.split())
