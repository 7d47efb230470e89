"""The real web server for tests: gunicorn with our configuration on a database of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE, until

PYTHON = [sys.executable, "-m"]
PASSWORD = "a-long-password"


def fetch(port: int, path: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and body."""
    sent = {"Accept": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Server:
    """A server that runs; `environment` is what its commands need, `home` its state and temporary directory."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.home, self.port = home, free_port()
        self.environment = {
            **os.environ,
            "MAINSTEM_HOME": str(home),
            "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
            "MAINSTEM_SECRET_KEY": "only-for-tests",
            "MAINSTEM_BIND": f"127.0.0.1:{self.port}",
            "MAINSTEM_WEB_WORKERS": "1",
            "TMPDIR": str(home),
            **settings,
        }

    def manage(self, *arguments: str) -> str:
        """Run a command of the backend's; what it printed."""
        command = [*PYTHON, "backend.manage", *arguments]
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def token(self) -> str:
        """A token of the admin's."""
        login = json.dumps({"username": "admin", "password": self.environment["MAINSTEM_ADMIN_PASSWORD"]}).encode()
        status, answer = fetch(self.port, "/api/auth/token/", login, Content_Type="application/json")
        assert status == 201, answer
        return str(json.loads(answer)["token"])

    def answers(self) -> bool:
        """Whether it says that it is well."""
        with contextlib.suppress(OSError):
            return fetch(self.port, "/api/health/")[0] == 200
        return False


@contextlib.contextmanager
def serving(home: Path, **settings: Any) -> Iterator[Server]:
    """A server with these variables; it ends with 0 when it is told to.

    Without a DATABASE_URL it has a fresh database, where MAINSTEM_ADMIN_PASSWORD is the admin's password.
    """
    server = Server(home, {"MAINSTEM_ADMIN_PASSWORD": PASSWORD, **{name: str(it) for name, it in settings.items()}})
    if "DATABASE_URL" not in settings:
        server.manage("prepare")
    command = [*PYTHON, "gunicorn", "-c", "python:backend.project.gunicorn", "backend.project.wsgi:application"]
    with subprocess.Popen(command, env=server.environment) as process:
        try:
            until(lambda: server.answers() or process.poll() is not None, pause=0.1, what="gunicorn's answer")
            assert process.poll() is None, "gunicorn has ended"
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
