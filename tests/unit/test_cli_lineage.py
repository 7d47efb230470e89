"""The commands about lineage, over an exported run: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mainstem.cli.main import main
from mainstem.lineage import export
from mainstem.protocol.topics import aggregator_topic
from tests.support.federations import rounds_of
from tests.support.runs import finished_run
from tests.unit.test_lineage import Altered

RUN = finished_run(rounds=3, count=2)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KML_CLOUD_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("MAINSTEM_HOME", raising=False)


@pytest.fixture
def run(tmp_path: Path) -> str:
    """An exported run."""
    export(*RUN, tmp_path / "run.mainstem")
    return str(tmp_path / "run.mainstem")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code and JSON result."""
    code = main([*arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_verify_proves_a_file(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every version, for a program and for a person."""
    code, told = answer(capsys, "verify", "--file", run)
    assert code == 0 and (told["proved"], told["differs"], told["gone"]) == (4, 0, 0)
    assert [v["state"] for v in told["versions"]] == ["proved"] * 4 and len(told["manifest_sha256"]) == 64
    assert main(["verify", "--file", run, RUN[1]]) == 0
    out = capsys.readouterr().out
    assert "version 3" in out and "4 proved, 0 differ, 0 gone; 6 updates counted" in out


def test_verify_says_what_is_gone_and_what_differs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Pruned updates leave the exit code 0; a record that was changed makes it 1."""
    log, federation = finished_run(rounds=2)
    rounds = rounds_of(log, federation)
    log.delete_records(aggregator_topic(federation), 0, max(a.offset for a in rounds[0].accepted) + 1)
    export(log, federation, tmp_path / "pruned")
    code, told = answer(capsys, "verify", "--file", str(tmp_path / "pruned"))
    assert code == 0 and told["gone"] == 1 and told["proved"] == 2
    place = (aggregator_topic(RUN[1]), rounds_of(*RUN)[1].accepted[0].offset)
    export(Altered(RUN[0], place, None), RUN[1], tmp_path / "altered")
    code, told = answer(capsys, "verify", "--file", str(tmp_path / "altered"))
    assert code == 1 and told["versions"][2]["state"] == "differs"


def test_replay_and_recall_answer(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A round is exact; a run says that it is not what would have been."""
    code, told = answer(capsys, "replay", "--file", run, "--round", "2", "--without", "c0")
    assert code == 0 and told["exact"] and told["note"] is None
    (round_,) = told["rounds"]
    assert not round_["same"] and round_["without"] == ["c0"] and round_["tensors"][0]["name"] == "t0"
    code, told = answer(capsys, "replay", "--file", run, "--strategy", "FedAvg", "--param", "weigh=equal")
    assert not told["exact"] and "not what would have become" in told["note"] and len(told["rounds"]) == 3
    assert main(["replay", "--file", run]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("the committed version") == 3 and "L2 of the difference" in shown.out
    code, told = answer(capsys, "recall", "--file", run, "--client", "c1", "--round", "2")
    assert code == 0 and [v["version"] for v in told["versions"]] == [2, 3]
    assert main(["recall", "--file", run, "--client", "c1"]) == 0
    assert "counts it" in capsys.readouterr().out
    assert main(["replay", "--file", run, "--strategy", "median"]) == 0
    assert "leaves out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["verify"], 2, "name a federation, or an exported run"),
        (["verify", "UPPER"], 2, "federation id 'UPPER'"),
        (["verify", "zzzzzzzz", "--file", "RUN"], 2, "holds federation"),
        (["verify", "--file", "RUN", "--bootstrap", "x:1"], 2, "leave --bootstrap out"),
        (["verify", "--file", "nowhere"], 1, "cannot be read"),
        (["verify", "ddy6heod"], 1, "no Kafka is known"),
        (["replay", "--file", "RUN", "--param", "a=1"], 2, "--param belongs to --strategy"),
        (["replay", "--file", "RUN", "--round", "9"], 1, "has no round 9"),
        (["replay", "--file", "RUN", "--strategy", "nothing"], 1, "'nothing' is not known"),
        (["recall", "--file", "RUN"], 2, "either --client or --update"),
        (["recall", "--file", "RUN", "--client", "nobody"], 1, "no update of client nobody"),
        (["rollback", "ddy6heod", "1"], 1, "no login is known"),
        (["rebuild"], 1, "no Kafka is known"),
        (["export", "ddy6heod"], 1, "no Kafka is known"),
    ],
)
def test_what_cannot_be_is_said(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    """Exit code 2 for arguments that make no sense, 1 for all else, with one sentence."""
    assert main([run if a == "RUN" else a for a in arguments]) == code
    assert sentence in capsys.readouterr().err
