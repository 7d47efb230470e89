"""`mainstem witness`, and what the commands about lineage say of a log that is not the one that was witnessed."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainstem.cli import witnessing
from mainstem.cli.main import main
from mainstem.errors import DecodeError
from mainstem.lineage import RunFile, export, read_history
from mainstem.protocol.messages import encode
from mainstem.protocol.topics import control_topic
from mainstem.protocol.witness import Acceptance, Statement, Witness, decode_statement, witness_of
from mainstem.rest import Api, ApiError
from mainstem.testing.memory_log import MemoryLog
from tests.support.runs import Ticking, finished_run

RUN = finished_run(rounds=3, count=2)
FEDERATION = RUN[1]


def end_of(log: MemoryLog) -> Witness:
    """Where its chain ends."""
    found = witness_of(read_history(log, FEDERATION).hashes)
    assert found is not None
    return found


def cut(records: int) -> MemoryLog:
    """The run with its last lifecycle records gone."""
    log = MemoryLog(Ticking())
    log.restore(RUN[0].copy())
    lifecycle = [link.offset for link in read_history(*RUN).links]
    topic = log._topics[control_topic(FEDERATION)][0]
    del topic[lifecycle[-records] :]
    return log


NEWEST = end_of(RUN[0])
GIVEN = Acceptance(number=1, accepted=NEWEST, witnessed=None, by="ada", why="moved", time_ms=1_700_000_000_000)
STATEMENT = Statement(federation=FEDERATION, witness=NEWEST, acceptances=(GIVEN,))


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KML_CLOUD_BOOTSTRAP_SERVERS", "MAINSTEM_HOME", "MAINSTEM_API", "MAINSTEM_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The whole run, one that lost its tail (which nothing in it tells), and the witness of the whole one."""
    export(*RUN, tmp_path / "whole", statement=STATEMENT)
    export(cut(2), FEDERATION, tmp_path / "cut")
    (tmp_path / "w.json").write_bytes(encode(STATEMENT))
    return {name: str(tmp_path / name) for name in ("whole", "cut", "w.json")}


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """Exit code, JSON result, and what was said beside it."""
    capsys.readouterr()
    code = main([*arguments, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else None, told.err


def test_a_file_that_lost_its_tail_proves_itself_and_not_its_end(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a witness that was kept elsewhere tells; then each command says so, with the exit code 1."""
    code, told, _ = answer(capsys, "verify", "--file", files["cut"])
    assert code == 0 and told["differs"] == 0 and told["witness"]["count"] == NEWEST.count - 2
    lost = f"the log of federation {FEDERATION} has lost its tail: it ends after 3 lifecycle records, and {NEWEST}"
    code, told, _ = answer(capsys, "verify", "--file", files["cut"], "--witness", files["w.json"])
    assert code == 1 and told["differs"] == 1 and told["witness"] == msgspec.to_builtins(NEWEST)
    assert told["versions"][-1]["version"] is None and told["versions"][-1]["detail"].startswith(lost)
    code, told, err = answer(capsys, "replay", "--file", files["cut"], "--witness", files["w.json"], "--round", "1")
    assert code == 1 and told["unwitnessed"].startswith(lost) and lost in err
    code, told, _ = answer(capsys, "witness", "check", "--file", files["cut"], "--witness", files["w.json"])
    assert code == 1 and told["unwitnessed"].startswith(lost) and told["end"]["count"] == 3
    for command in (["verify"], ["replay", "--round", "1"], ["witness", "check"]):
        assert answer(capsys, *command, "--file", files["whole"], "--witness", files["w.json"])[0] == 0
        assert main([*command, "--file", files["whole"], "--witness", files["w.json"]]) == 0
    assert f"the log holds {NEWEST}, and 0 after them" in capsys.readouterr().out


def test_an_export_carries_what_was_witnessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a log that lost its tail as well: that file never proves itself, whoever brings it."""
    done = export(cut(1), FEDERATION, tmp_path / "evidence", statement=STATEMENT)
    assert "has lost its tail: it ends after 4 lifecycle records" in done.objection
    with RunFile(tmp_path / "evidence") as run:
        assert run.statement == STATEMENT
        assert [(proof.version, proof.state) for proof in run.proofs()][-1] == (None, "differs")
        older = Witness(count=1, hash="a" * 64)
        assert [proof.state for proof in run.proofs(older)].count("differs") == 2
    assert answer(capsys, "verify", "--file", str(tmp_path / "evidence"))[0] == 1


def test_offline(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` and `export` take it from an exported run; what is written is not overwritten."""
    code, told, _ = answer(capsys, "witness", "show", "--file", files["whole"])
    assert code == 0 and msgspec.convert(told, Statement) == STATEMENT
    assert main(["witness", "show", "--file", files["whole"]]) == 0
    out = capsys.readouterr().out
    assert f"federation {FEDERATION}: witnessed were {NEWEST}" in out
    assert f"2023-11-14 22:13 UTC: ada accepted {NEWEST}: moved" in out
    assert main(["witness", "export", "--file", files["whole"]]) == 0
    written = tmp_path / f"{FEDERATION}.witness.json"
    assert decode_statement(written.read_bytes()) == STATEMENT == witnessing.read(written)
    assert stat.S_ISREG(written.stat().st_mode)
    assert main(["witness", "export", "--file", files["whole"]]) == 1
    assert "cannot be written: File exists" in capsys.readouterr().err


class Backend:
    """What the REST API says of the federation, and what it was told."""

    def __init__(self, lost: Witness | None = None) -> None:
        self.told: list[tuple[str, Any]] = []
        self.lost, self.doubts, self.accepted = lost, 0, 0

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, path: str) -> Any:
        """See `Api`."""
        if FEDERATION not in path:
            raise ApiError("the backend refused (404): there is none", 404)
        self.doubts = max(0, self.doubts - 1)
        witness = self.lost or NEWEST
        return {
            "federation": FEDERATION, "witness": msgspec.to_builtins(witness), "end": msgspec.to_builtins(NEWEST),
            "doubt": "it was imported" if self.doubts else "", "accepted": self.accepted, "acceptances": [],
            "unwitnessed": "it has lost its tail" if self.lost and not self.doubts else "",
        }  # fmt: skip

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """See `Api`."""
        self.told.append((path.removeprefix(f"deployments/{FEDERATION}/"), dict(body)))
        if path.endswith("accept/"):
            self.lost = None
        else:
            self.doubts = 3
        return self.get(path)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend that is known."""
    made = Backend()
    monkeypatch.setattr(Api, "connect", lambda home: made)
    monkeypatch.setenv("MAINSTEM_API", "http://127.0.0.1:1")
    monkeypatch.setattr("mainstem.cli.witness.POLL_SECONDS", 0.001)
    return made


def test_with_the_backend(
    backend: Backend, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown, exported, imported, accepted."""
    assert answer(capsys, "witness", "show", FEDERATION)[0] == 0
    assert main(["witness", "export", FEDERATION, "-o", str(tmp_path / "kept.json")]) == 0
    assert witnessing.read(tmp_path / "kept.json").witness == NEWEST
    assert main(["witness", "import", files["w.json"]]) == 0 and backend.told == [
        ("witness/", msgspec.to_builtins(NEWEST))
    ]
    assert f"the log holds them: it ends with {NEWEST.hash}" in capsys.readouterr().out
    backend.lost = Witness(count=9, hash="b" * 64)
    code, told, _ = answer(capsys, "witness", "show", FEDERATION)
    assert code == 1 and told["unwitnessed"] == "it has lost its tail"
    assert main(["witness", "show", FEDERATION]) == 1 and "it has lost its tail" in capsys.readouterr().err
    assert main(["witness", "import", files["w.json"]]) == 1
    assert main(["witness", "accept", FEDERATION, "--why", "the disk is gone"]) == 0
    assert backend.told[-1] == ("witness/accept/", {"hash": NEWEST.hash, "why": "the disk is gone"})
    assert main(["witness", "accept", FEDERATION, "--why", "x", "--hash", "c" * 64]) == 0
    assert backend.told[-1][1]["hash"] == "c" * 64
    backend.doubts = 10**9
    assert main(["witness", "import", files["w.json"], "--timeout", "0"]) == 1
    assert "was not read again within 0 s" in capsys.readouterr().err


def test_the_backends_witness_is_taken_by_itself(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is known and answers, and where it is this Kafka's; asked before the log is."""

    class Options:
        witness, bootstrap = None, ""

    def found(federation: str = FEDERATION) -> Statement | None:
        return witnessing.statement_for(Options, None, Output(), None, federation)  # type: ignore[arg-type]

    class Output:
        said: list[str] = []

        def say(self, text: str) -> None:
            self.said.append(text)

    statement = found()
    assert statement is not None and statement.witness == NEWEST
    assert found("zzzzzzzz") is None and not Output.said
    monkeypatch.setattr(Options, "bootstrap", "elsewhere:1")
    assert found() is None
    monkeypatch.setattr(Options, "bootstrap", "")

    def away(home: object) -> Api:
        raise ApiError("it does not answer")

    monkeypatch.setattr(Api, "connect", away)
    assert found() is None and Output.said == ["The log was compared with no witness: it does not answer"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["witness", "show"], 2, "name a federation, or an exported run"),
        (["witness", "show", "zzzzzzzz", "--file", "whole"], 2, "holds federation"),
        (["witness", "check", "--file", "whole", "--witness", "whole"], 1, "it is no witness"),
        (["witness", "check", "--file", "whole", "--witness", "nowhere"], 1, "cannot be read"),
        (["verify", "--file", "whole", "--witness", "other.json"], 2, "is the witness of federation other123"),
        (["witness", "check", "ddy6heod"], 1, "no Kafka is known"),
        (["witness", "accept", "ddy6heod", "--why", "x"], 1, "no login is known"),
        (["witness", "import", "w.json"], 1, "no login is known"),
    ],
)
def test_what_cannot_be_is_said(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, sentence: str,
) -> None:  # fmt: skip
    """Exit code 2 for arguments that make no sense, 1 for all else, with one sentence."""
    other = Statement(federation="other123", witness=NEWEST)
    (tmp_path / "other.json").write_bytes(encode(other))
    assert main([files.get(argument, argument) for argument in arguments]) == code
    assert sentence in capsys.readouterr().err


def test_an_answer_that_is_no_witness() -> None:
    """Of another server at that address."""
    answers: list[Any] = [{}, [], {"witness": {"count": -1}, "acceptances": []}]
    for told in answers:
        with pytest.raises(DecodeError, match="is no witness"):
            witnessing.statement_of(told)
    assert witnessing.statement_of({"federation": FEDERATION, "witness": None, "acceptances": []}) is None
