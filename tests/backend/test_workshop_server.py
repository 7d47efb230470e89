"""The workshop in a container of its own: one run a connection, no secrets, an end for what nobody waits for."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.catalog import workshop
from backend.rest.problems import Problem
from federated_training.workshop import server as workshop_server
from mainstem.runtime.processes import identity

pytestmark = pytest.mark.backend

Server = Callable[[str], Path]


@pytest.fixture
def server(tmp_path: Path, settings: object) -> Iterator[Server]:
    """Serves with a script in the workshop's place; the backend is told of the socket."""
    threads: list[tuple[threading.Event, threading.Thread]] = []

    def start(body: str) -> Path:
        script, path = tmp_path / "run.py", tmp_path / "socket"
        script.write_text("import json, os, sys, time\nrequest = json.load(sys.stdin)\n" + body)
        stop, listener = threading.Event(), workshop_server.listen(path)
        thread = threading.Thread(
            target=workshop_server.serve, args=(listener, stop, (sys.executable, str(script))), daemon=True
        )
        thread.start()
        threads.append((stop, thread))
        settings.WORKSHOP_SOCKET = str(path)  # type: ignore[attr-defined]
        return path

    yield start
    for stop, thread in threads:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_request_goes_out_with_its_files_and_comes_back(server: Server) -> None:
    """The directory lies beside the socket, the answer arrives whole, and nothing is left behind."""
    path = server(
        "d = request['ops'][0]['dir']\n"
        "open(d + '/out', 'w').write(open(d + '/in').read()[::-1])\n"
        "print(json.dumps({'answers': [{'ok': True, 'long': 'x' * 300_000, 'beside': os.path.dirname(d)}]}))\n"
    )
    result = workshop.run([{"op": "build"}], files={"in": b"abc"}, wanted=["out"])
    assert result.files["out"] == b"cba"
    assert len(result.answers[0]["long"]) == 300_000
    assert result.answers[0]["beside"] == str(path.parent)
    assert not list(path.parent.glob("mainstem-workshop-*"))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("os._exit(3)", "killed"),
        ("os.kill(os.getpid(), 9)", "killed"),
        ("print('no json')", "without an answer"),
    ],
)
def test_a_broken_run_is_a_503_and_the_next_one_works(server: Server, body: str, word: str) -> None:
    """What dies does not take the server along."""
    server(f"if request['ops'][0]['op'] == 'bad':\n    {body}\nelse:\n    print(json.dumps({{'ok': True}}))\n")
    with pytest.raises(Problem) as caught:
        workshop.run([{"op": "bad"}])
    assert caught.value.status_code == 503
    assert word in str(caught.value.detail)
    assert workshop.run([{"op": "good"}]).answers[0]["ok"]


def test_a_run_ends_when_its_caller_hangs_up(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The wall limit holds also where the run does not keep it, and the run is gone soon after."""
    monkeypatch.setattr(workshop, "GRACE_SECONDS", 0)
    monkeypatch.setattr(workshop, "PATIENCE", 1)
    server(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    with pytest.raises(Problem, match="longer than 1 s"):
        workshop.run([{"op": "build"}], seconds=1)
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, "the run lives on"
        time.sleep(0.05)


def test_an_absent_server_is_a_sentence(settings: object, tmp_path: Path) -> None:
    """A sidecar that is still starting is a 503."""
    settings.WORKSHOP_SOCKET = str(tmp_path / "nobody")  # type: ignore[attr-defined]
    with pytest.raises(Problem) as caught:
        workshop.run([{"op": "build"}])
    assert caught.value.status_code == 503
    assert "does not answer" in str(caught.value.detail)


def test_what_is_kept_answers_again(server: Server) -> None:
    """One process for one model, in a directory beside the socket; another model, or another run, ends it first."""
    path = server("")
    (path.parent / "run.py").write_text(
        "import json, os, sys\n"
        "for line in sys.stdin if '--stay' in sys.argv else [sys.stdin.read()]:\n"
        "    op = json.loads(line)['ops'][0]\n"
        "    if op['op'] == 'die': os._exit(3)\n"
        "    done = {'ok': True, 'pid': os.getpid(), 'inside': os.path.dirname(op['dir']) == os.getcwd()}\n"
        "    print(json.dumps({'answers': [done]}), flush=True)\n"
    )

    def ask(keep: str | None, op: str = "predict") -> int:
        (answer,) = workshop.run([{"op": op}], keep=keep).answers
        assert answer["inside"] is (keep is not None)
        return int(answer["pid"])

    def rooms() -> list[str]:
        return sorted(place.name for place in path.parent.glob("kept-*"))

    first = ask("a" * 64)
    assert ask("a" * 64) == first and rooms() == ["kept-" + "a" * 32]
    second = ask("b" * 64)
    assert second != first and identity(first) is None and rooms() == ["kept-" + "b" * 32]
    with pytest.raises(Problem, match="was killed") as caught:
        ask("b" * 64, "die")
    assert caught.value.status_code == 503
    third = ask("b" * 64)
    assert ask(None) != third and identity(third) is None and rooms() == []
    assert not list(path.parent.glob("mainstem-workshop-*"))
