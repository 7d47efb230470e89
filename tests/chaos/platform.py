"""A stage with the whole platform on it: backend, launcher and loggers as `mainstem up` starts them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from mainstem.errors import LogError
from mainstem.platform import plan, secret_settings
from mainstem.platform.home import Home
from mainstem.protocol import topics
from mainstem.protocol.log import Outgoing
from mainstem.runtime.processes import free_port
from tests.chaos.plan import AGGREGATORS, DOORS, PLATFORM
from tests.chaos.stage import ROOT, Stage

READY_SECONDS = 240.0
COMMAND_SECONDS = 300.0


class PlatformStage(Stage):
    """Aggregators, backend, launcher and loggers are up; `web_door` lies between the loggers and the backend."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, DOORS)
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        directory = self.directory
        self.home = Home(directory / "home")
        self.home.make()
        port = free_port()
        self.web_door = self.ground.network.door(port)
        self._secrets = secret_settings.load_or_make(self.home.settings).values
        self._addresses = plan.Addresses(port, self.broker.bootstrap_servers, None)
        self._base = plan.environment(self.home, self._addresses, log_json=False)
        self._base["DATABASE_URL"] = f"sqlite:///{self.home.database}"
        self.log.create_topics([*topics.shared_topics(), topics.data_control_spec()])
        self.streams = 0
        for command in (plan.MIGRATE, plan.BOOTSTRAP):
            self._call(command, {})
        self.empty = directory / "empty.sqlite3"
        shutil.copyfile(self.home.database, self.empty)
        # as those of `mainstem up` they ask the backend what it has witnessed
        self.of_aggregators = {**self._base, "MAINSTEM_TOKEN": self._secrets["MAINSTEM_TOKEN"]}
        for number in range(AGGREGATORS):
            self.aggregator(number)
        for child in plan.processes(self._base, self._secrets, self._addresses, self.home.logs):
            if child.name in PLATFORM:
                own = self.bootstrap(child.name)
                door = {"KML_CLOUD_BOOTSTRAP_SERVERS": own, "DATA_BOOTSTRAP_SERVERS": own}
                if child.name not in ("web", "launchers"):
                    door["MAINSTEM_API"] = f"http://127.0.0.1:{self.web_door.port}"
                self.run(child.name, child.command[2:], {**child.environment, **door})
        self.until_ready()

    def command(self, *arguments: str) -> str:
        """A command of `mainstem`; what it printed."""
        return self._call([sys.executable, "-m", "mainstem.cli", *arguments], {})

    def rebuilt(self, database: Path) -> None:
        """An empty database at this path, filled from the log."""
        shutil.copyfile(self.empty, database)
        told = json.loads(
            self._call(plan.manage("rebuild"), {"DATABASE_URL": f"sqlite:///{database}"}).splitlines()[-1]
        )
        assert told["duplicates"] == 0, f"{told['duplicates']} records were read twice"

    def _call(self, command: list[str], more: dict[str, str]) -> str:
        own = {**self._base, **self._secrets, **more}
        done = subprocess.run(
            command, cwd=ROOT, env=own, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
        assert done.returncode == 0, f"{command} failed: {done.stderr[-3000:]}"
        return done.stdout

    def until_ready(self) -> None:
        """Wait until the backend answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.tend()
            try:
                urllib.request.urlopen(f"{self._addresses.web}/api/health/", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the backend does not answer; logs:\n{self.logs()}")

    def end(self, name: str) -> None:
        """SIGKILL of all the part's processes."""
        self.signal(name, signal.SIGKILL)
        self.parts[name].process.wait()

    def tend(self) -> list[str]:
        """Start again what ended by itself, as a supervisor does; what that was."""
        ended = [name for name in self.parts if not name.startswith("client") and not self.alive(name)]
        for name in ended:
            self.again(name)
        if not self.broker.running:
            ended.append("kafka")
            self.ground.start()
        return ended

    def announce_stream(self) -> None:
        """One more data stream is announced, so that there is one to lose."""
        body = {"topic": f"stream-{self.streams}:0:0:10", "input_format": "RAW", "input_config": {}, "total_msg": 10}
        try:
            self.log.append(topics.DATA_CONTROL, [Outgoing(json.dumps(body).encode())])
        except LogError:
            return  # whether it is in the log is for the log to say
        self.streams += 1

    def forget(self, federation: str) -> None:
        """Delete a federation, so that what a rebuild reads does not grow with the campaign."""
        self.log.append(topics.MODEL_CONTROL, [Outgoing(None, key=federation.encode())])
        self.log.delete_topics([spec.name for spec in topics.federation_topics(federation)])
