"""A whole platform for browser tests: `mainstem up` in a directory of its own, and light clients that train nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mainstem.platform.home import Home, Running
from mainstem.runtime.processes import descendants, free_port

PASSWORD = "river-delta-7431"


class Platform:
    """A running `mainstem up`. Start it once for all tests of a package: it takes some seconds and 500 MB."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        kafka = free_port()
        self.port = free_port(avoid={kafka})
        self.base, self.kafka = f"http://127.0.0.1:{self.port}", f"127.0.0.1:{kafka}"
        ours = ("MAINSTEM_", "KML_", "DATA_", "DATABASE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = inherited | {"MAINSTEM_CACHE": os.environ.get("MAINSTEM_CACHE", "")}
        self.environment["MAINSTEM_LIVE_STREAMS_EACH"] = "64"  # all that there are: the tests are one person
        self._log = (root.parent / "up.err").open("wb")
        command = [sys.executable, "-m", "mainstem.cli", "up", "--home", str(root)]
        ports = ["--port", str(self.port), "--kafka-port", str(kafka)]
        self._process = subprocess.Popen([*command, *ports], env=self.environment, stderr=self._log)
        try:
            self.running = self._until(lambda running: running.ready)
            self._token = self._first_token()
        except BaseException:
            self.close()  # nobody else has it to end it
            raise

    def close(self) -> None:
        """End all of it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._log.close()

    def _until(self, condition: Callable[[Running], bool], seconds: float = 180) -> Running:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running = self.home.running()
            if running is not None and running.pid == self._process.pid and condition(running):
                return running
            assert self._process.poll() is None, Path(self._log.name).read_text()
            time.sleep(0.1)
        raise AssertionError(Path(self._log.name).read_text())

    def kill_web(self) -> None:
        """Kill the web server with its worker, and wait until the supervisor has another one that answers."""
        pid, _ = self._until(lambda running: "web" in running.processes).processes["web"]
        for doomed in [pid, *descendants(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(doomed, signal.SIGKILL)
        self.until_web_is_back(pid)

    def until_web_is_back(self, pid: int) -> None:
        """Wait for a web server that is not the process `pid`."""
        self._until(lambda running: running.processes.get("web", (pid, None))[0] != pid)
        until(self._answers, 120)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._call("GET", "health/")["status"] == "ok")
        return False

    # ------------------------------------------------------------ people
    @property
    def admin_password(self) -> str:
        """Of `admin`, as the first start made it."""
        found = re.search(r"^MAINSTEM_ADMIN_PASSWORD=['\"]?([^'\"\n]+)", self.home.settings.read_text(), re.MULTILINE)
        assert found is not None
        return found[1]

    def _first_token(self) -> str:
        login = {"username": "admin", "password": self.admin_password}
        return str(self._call("POST", "auth/token/", login)["token"])

    def person(self, role: str) -> str:
        """The name of a user of that role, whose password is PASSWORD; made when it is first asked for."""
        name = f"test-{role}"
        if not self.api("GET", f"users/?username={name}")["results"]:
            self.api("POST", "users/", {"username": name, "role": role, "password": PASSWORD})
        return name

    # ------------------------------------------------------------ runs
    def api(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of the API to the admin; fails on any error."""
        return self._call(method, path, body, {"Authorization": f"Token {self._token}"})

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON that the API answers the admin with, errors included; bytes go as they are."""
        return self._exchange(method, path, body, {"Authorization": f"Token {self._token}"})

    def _call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        status, answer = self._exchange(method, path, body, headers or {})
        assert status < 400, f"{method} {path}: {status} {str(answer)[:500]}"
        return answer

    def _exchange(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"{self.base}/api/{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return status, json.loads(content) if content else None

    def deliver(self, envelope: Any) -> None:
        """Post control records in the logger's name."""
        found = re.search(r"^MAINSTEM_TOKEN=['\"]?([^'\"\n]+)", self.home.settings.read_text(), re.MULTILINE)
        assert found is not None
        taken = self._call("POST", "ingest/control/", envelope, {"Authorization": f"Token {found[1]}"})
        assert taken["accepted"] + taken["duplicates"] == len(envelope["records"]), taken

    def configuration(self) -> int:
        """A configuration with a small model; made when it is first asked for."""
        found = self.api("GET", "configurations/?name=light")["results"]
        if found:
            return int(found[0]["id"])
        template = {"name": "mlp", "params": {"classes": 10, "units": [8]}}
        model = self.api("POST", "models/", {"name": "light", "template": template, "seed": 7})
        return int(self.api("POST", "configurations/", {"name": "light", "models": [model["id"]]})["id"])

    def federation(self, name: str, **settings: Any) -> str:
        """Open a federation that no stream fits and wait until clients may join it; its id."""
        nobody = {"data_restriction": {"for": "light clients"}}
        asked = {"configuration": self.configuration(), "name": name, **nobody, **settings}
        made = str(self.api("POST", "deployments/", asked)["federation"])
        until(lambda: self.state(made) == "waiting")
        return made

    def state(self, federation: str) -> str:
        """What the API says of it."""
        return str(self.api("GET", f"deployments/{federation}/")["state"])

    @contextlib.contextmanager
    def clients(
        self, federation: str, count: int, seconds: float = 0.0, prefix: str = "site-", train: str = "noise"
    ) -> Iterator[None]:
        """So many light clients of a federation at work, each of whose training takes `seconds`."""
        command = [
            sys.executable, "-m", "mainstem.cli", "clients", "--home", str(self.home.root), "--federation", federation,
            "--count", str(count), "--seconds", str(seconds), "--prefix", prefix, "--train", train,
        ]  # fmt: skip
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=self._log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def finished(self, name: str, rounds: int = 3, count: int = 3, **settings: Any) -> str:
        """A federation that `count` light clients have finished; its id."""
        federation = self.federation(name, rounds=rounds, min_clients=count, **settings)
        with self.clients(federation, count):
            until(lambda: self.state(federation) == "finished", 120)
        return federation

    def long_run(self, federation: str, *options: str) -> str:
        """A run that is only told, written into the database at once; options as of `tests.support.long_runs`."""
        command = [sys.executable, "-m", "tests.support.long_runs", federation, "--home", str(self.home.root), *options]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return federation

    def learned_digits(self) -> str:
        """A federation that three real Jobs have finished on real digits, in five rounds; its id."""
        command = [sys.executable, "-m", "mainstem.cli", "demo", "--home", str(self.home.root)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return str(json.loads(done.stdout.splitlines()[-1])["federation"])


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until it holds; what it gave then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"it never came to that within {seconds:g} s")
