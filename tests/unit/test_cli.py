"""The command `mainstem` without a platform: help, errors, exit codes, JSON."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, cast

import pytest

from mainstem.cli import demo, doctor, inject, status
from mainstem.cli.main import COMMANDS, main
from mainstem.cli.output import Output, visible
from mainstem.platform.home import Home, Running
from mainstem.rest import Api, ApiError


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No platform, no variables, wherever the tests run."""
    for name in ("MAINSTEM_API", "MAINSTEM_API_TOKEN", "KML_CLOUD_BOOTSTRAP_SERVERS", "DATA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAINSTEM_HOME", str(tmp_path / "home"))


class Backend(BaseHTTPRequestHandler):
    """Answers as told, and remembers what it was asked."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[tuple[str, str, str | None, Any]]] = []

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        self.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
        status, answer = self.answers[self.path]
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the test's output."""


@pytest.fixture
def backend() -> Iterator[str]:
    """A stand-in for the backend; its address."""
    Backend.answers.clear()
    Backend.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`mainstem COMMAND --help` explains it and offers --json."""
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert "--home" in text


def test_what_is_not_understood_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands and options end with exit code 2 and their name."""
    for words, named in ((["dance"], "dance"), (["topics", "--colour"], "--colour"), (["up", "--port", "x"], "--port")):
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert leaving.value.code == 2
        assert named in capsys.readouterr().err


@pytest.mark.parametrize("name", ["topics", "jobs", "demo"])
def test_without_a_platform_the_fix_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that says what to start or set, exit code 1; with --json as an object."""
    assert main([name]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert error.startswith("error: ")
    assert "`mainstem up`" in error
    assert main([name, "--json"]) == 1
    assert "mainstem up" in json.loads(capsys.readouterr().err)["error"]


def test_status_says_that_nothing_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Also when an old note about a platform is still there."""
    home = Home(tmp_path / "home")
    home.make()
    home.tell(Running(1, 8000, "http://127.0.0.1:8000", "127.0.0.1:9092", ready=True))
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": False, "home": str(home.root)}


def test_status_says_what_stands_in_a_run_s_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Below the table, in whole sentences, whatever they hold."""
    home = Home(tmp_path / "home")
    home.make()
    home.tell(Running(1, 8000, "http://127.0.0.1:8000", "127.0.0.1:9092", ready=True))
    monkeypatch.setattr(Home, "is_held", lambda self: True)
    rows = [
        {"federation": "ddy6heod", "state": "waiting", "detail": "ward-3: DATA_TOPIC has [5] records", "error": ""},
        {"federation": "abcdefgh", "state": "opening", "detail": "", "error": "Kafka did not take it"},
        {"federation": "finished", "state": "finished", "detail": "", "error": ""},
    ]
    monkeypatch.setattr(status, "_deployments", lambda home: (rows, None))
    monkeypatch.setattr(status, "measured", lambda running: [])
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["ddy6heod: ward-3: DATA_TOPIC has [5] records", "abcdefgh: Kafka did not take it"]


def test_inject_passes_the_script_its_options_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Options that are not the command's own reach the script as they were given, with the platform's Kafka."""
    Home(tmp_path / "home").make()
    Home(tmp_path / "home").tell(Running(1, 8000, "http://127.0.0.1:8000", "127.0.0.1:9099"))
    calls: list[tuple[list[str], dict[str, str]]] = []

    def call(command: list[str], environment: dict[str, str]) -> int:
        calls.append((command, environment))
        return 7

    monkeypatch.setattr(inject, "_call", call)
    assert main(["inject", "--clients", "3", "--alpha", "0.5", "--json"]) == 7
    command, environment = calls[0]
    script = ["inject_scripts.inject_dummy_training_data", "--clients", "3", "--alpha", "0.5", "--json"]
    assert command[1:] == ["-m", *script]
    assert environment["DATA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9099"
    main(["inject", "--script", "inject_files", "--", "--help"])
    assert calls[1][0][2:] == ["inject_scripts.inject_files", "--help"]


@pytest.mark.parametrize("name", ["../etc/passwd", "nosuch", "console", "inject_nosuch"])
def test_an_unknown_script_is_named_with_those_that_there_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a process is started, whose traceback would say nothing."""
    assert main(["inject", "--script", name]) == 1
    told = capsys.readouterr().err
    assert f"{name!r} is no script's name; there are inject_dummy_training_data, inject_files" in told


def test_an_unknown_job_is_named(
    backend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever characters it has."""
    monkeypatch.setenv("MAINSTEM_API", backend)
    monkeypatch.setenv("MAINSTEM_API_TOKEN", "abc")
    Backend.answers |= {f"/api/jobs/{name}/log/": (404, {"detail": "Not found."}) for name in ("nosuch", "a%2Fb%20c")}
    for name in ("nosuch", "a/b c"):
        assert main(["jobs", name]) == 1
        assert f"there is no Job {name!r}: `mainstem jobs` lists them" in capsys.readouterr().err


def test_what_goes_into_a_pipe_is_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """A row is a line there, however long its names and hashes; a terminal folds them."""
    output, name, sha256 = Output(), "n" * 300, "0123456789abcdef" * 4
    output.table("Versions", ("name", "sha256"), [[name, sha256], ["short", sha256]])
    output.out.print(f"{name} {sha256}")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [[name, sha256], ["short", sha256], [name, sha256]]


def test_doctor_finds_what_is_missing_and_says_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each finding has a state; a missing thing has a fix and makes the exit code 3."""
    assert main(["doctor", "--json"]) == 0
    found = {entry["what"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"Python", "packages", "Java", "memory", "Landlock"} <= found.keys()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras" else name)
    assert main(["doctor", "--json"]) == 3
    found = {entry["what"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["packages"]["state"] == "missing"
    assert "keras" in found["packages"]["detail"]
    assert "requirements/local.txt" in found["packages"]["fix"]


def test_doctor_says_when_a_disk_gets_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Beside the setting: little is a note, too little for rounds is missing; a wrong setting is one as well."""

    def found(floor: str) -> dict[str, str]:
        monkeypatch.setenv("MAINSTEM_DISK_FLOOR_BYTES", floor)
        main(["doctor", "--json", "--home", str(tmp_path)])
        entries = json.loads(capsys.readouterr().out)
        return next(entry for entry in entries if entry["what"].startswith("disk"))

    free = shutil.disk_usage(tmp_path).free
    assert found(str(free // 8))["state"] == "ok"
    low, full = found(str(free // 2)), found(str(free * 2))
    assert (low["state"], full["state"]) == ("note", "missing")
    assert "(MAINSTEM_DISK_FLOOR_BYTES) rounds wait" in low["fix"] and "rounds wait" in full["fix"]
    assert found("much")["state"] == "missing"


def test_doctor_tells_which_runs_their_logs_contradict(backend: str) -> None:
    """A run whose topics are gone is missing something; one that was read again is worth a note."""
    runs = [{"federation": "aaaaaaaa", "lost": "Kafka has no topic x"}, {"federation": "bbbbbbbb", "amended": "On"}]
    Backend.answers["/api/deployments/"] = (200, {"results": runs, "next": None})
    with Api(backend, "token") as api:
        found = [(entry.what, entry.state, entry.detail) for entry in doctor.logs_of_runs(api)]
    assert found == [("log of aaaaaaaa", "missing", "Kafka has no topic x"), ("log of bbbbbbbb", "note", "On")]


def test_the_api_logs_in_and_reads_pages(backend: str) -> None:
    """A password becomes a token, which later requests carry; lists are read to their end."""
    Backend.answers.update({
        "/api/auth/token/": (201, {"token": "abc"}),
        "/api/jobs/": (200, {"results": [{"name": "a"}], "next": f"{backend}/api/jobs/?page=2"}),
        "/api/jobs/?page=2": (200, {"results": [{"name": "b"}], "next": None}),
    })  # fmt: skip
    api = Api(backend)
    api.login("admin", "pw")
    assert [job["name"] for job in api.pages("jobs/")] == ["a", "b"]
    assert Backend.asked[0][3]["password"] == "pw"
    assert Backend.asked[-1][2] == "Token abc"


def test_each_request_has_a_connection_of_its_own() -> None:
    """A kept one may have died unseen behind `kubectl port-forward`, and a POST cannot simply be repeated."""

    class OnceOnly(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.requestline != vars(self).setdefault("first", self.requestline):
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), OnceOnly) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with Api(f"http://127.0.0.1:{server.server_port}") as api:
            assert [api.get("a/"), api.get("b/")] == [{}, {}]
        server.shutdown()


def test_a_refusal_names_the_field(backend: str) -> None:
    """Problem documents become one sentence; an answer that is none still gives its status."""
    problem = {"title": "Bad request", "errors": [{"field": "rounds", "message": "Must be at least 1."}]}
    Backend.answers.update({"/api/deployments/": (400, problem), "/api/models/": (500, ["?"])})
    with pytest.raises(ApiError, match=r"refused \(400\): rounds: Must be at least 1\.") as refused:
        Api(backend).post("deployments/", {})
    assert refused.value.status == 400
    with pytest.raises(ApiError, match=r"refused \(500\): Internal Server Error"):
        Api(backend).get("models/")


def test_a_silent_backend_is_named() -> None:
    """Nobody listens: the sentence says so and asks for `mainstem up`."""
    with pytest.raises(ApiError, match=r"127\.0\.0\.1:9 does not answer .* is `mainstem up` running\?"):
        Api("http://127.0.0.1:9").get("models/")


def test_the_demo_reads_its_stages_from_the_rounds() -> None:
    """Train is the slowest client, transport what else passed until the round closed, aggregate until the commit."""
    clients = [{"examples": 1, "train_seconds": seconds, "training": {"values": {"loss": loss}}}
               for seconds, loss in ((1.0, 0.5), (2.5, 0.1))]  # fmt: skip
    entry = {"number": 1, "version": 1, "opened_ms": 1000, "closed_ms": 4000, "committed_ms": 4200, "clients": clients}
    result = {"opened_ms": 0, "rounds": [entry, entry]}
    assert demo._split(result) == {"jobs": 1.0, "train": 5.0, "transport": 1.0, "aggregate": pytest.approx(0.4)}
    assert "2 clients  loss 0.300  (train 2.50 s, transport 0.50 s, aggregate 0.20 s)" in demo._round_line(entry)


class Flickering:
    """An API that is away at its first looks, as a backend that is started again is; then the run has finished."""

    def __init__(self, away: int, status: int | None = None) -> None:
        self.away, self.status = away, status

    def get(self, path: str) -> dict[str, Any]:
        """See `Api.get`."""
        self.away -= 1
        if self.away >= 0:
            raise ApiError("away", self.status)
        return {"state": "finished", "rounds": []}


def test_the_demo_outlives_a_restart_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that does not answer for a while is asked again; one that refuses, or stays away, is not."""
    monkeypatch.setattr(demo, "POLL_SECONDS", 0.0)
    output = Output(as_json=True)
    assert demo._follow(cast(Api, Flickering(3)), "abcdefgh", output)["state"] == "finished"
    with pytest.raises(ApiError):
        demo._follow(cast(Api, Flickering(1, 403)), "abcdefgh", output)
    monkeypatch.setattr(demo, "AWAY_SECONDS", -1.0)
    with pytest.raises(ApiError):
        demo._follow(cast(Api, Flickering(1)), "abcdefgh", output)


def test_what_peers_wrote_does_not_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, carriage returns and turns of direction are shown by their codes."""
    name = "site\x1b]0;owned\x07\x1b[2J\r\u202egnp\x9b"
    assert visible("one\ttwo\nthree é 語") == "one\ttwo\nthree é 語"
    output = Output()
    output.show(name, (name, "bold"))
    output.table("Clients", ["client"], [[name]])
    output.say(name)
    output.error(name)
    for text in capsys.readouterr():
        assert not set(text) & set("\x1b\x07\r\u202e\x9b") and r"\x1b]0;owned\x07" in text


def test_a_client_is_put_out(backend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for and waited for; what the aggregator rejects is said."""
    monkeypatch.setenv("MAINSTEM_API", backend)
    monkeypatch.setenv("MAINSTEM_API_TOKEN", "abc")
    shown = {"federation": "ddy6heod", "detail": "", "members": [{"client": "site-b", "state": "removed"}]}
    Backend.answers.update({
        "/api/deployments/ddy6heod/remove/": (202, shown),
        "/api/deployments/ddy6heod/": (200, shown),
    })  # fmt: skip
    assert main(["remove", "ddy6heod", "site-b"]) == 0
    assert "site-b no longer takes part in federation ddy6heod" in capsys.readouterr().out
    assert [asked[3] for asked in Backend.asked if asked[0] == "POST"] == [{"client": "site-b"}]
    refused = shown | {"detail": "The last command was rejected: the run is stopped"}
    Backend.answers["/api/deployments/ddy6heod/"] = (200, refused)
    assert main(["remove", "ddy6heod", "site-b"]) == 1
    assert "the run is stopped" in capsys.readouterr().err
