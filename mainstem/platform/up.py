"""`mainstem up`: from nothing to a platform that answers, and back."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from secrets import token_hex

from mainstem.errors import ConfigError, LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.broker.prepare import Say as Progress
from mainstem.kafka.broker.prepare import prepare
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.door import knock
from mainstem.kafka.client.log import KafkaLog
from mainstem.platform import key_file, plan, secret_settings
from mainstem.platform.children import BrokerChild
from mainstem.platform.home import Home, Running
from mainstem.platform.plan import Addresses
from mainstem.platform.platform_key import key_environ
from mainstem.platform.secret_settings import Secrets
from mainstem.platform.supervisor import PlatformError, Supervisor, quietly
from mainstem.protocol import topics
from mainstem.protocol.signing import SITE_KEY_FILE
from mainstem.runtime import disk, endpoints
from mainstem.runtime.processes import end_child, identity, start_child
from mainstem.runtime.program import insist, raising

READY_SECONDS = 600.0  # what cannot start ends by itself, which is seen at once
MIGRATE_SECONDS = 1800.0
KAFKA_SECONDS = 15.0
REFUSED = "CommandError: "  # before the sentence of a command of the backend's own
LEFTOVER_SECONDS = 20.0
TICK = 0.2
LOOK_SECONDS = 5.0  # between two looks at the disks, and two attempts to write down what runs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What a person chose: ports (None: as last time, else 8000 and 9092 or the next free ones), log format."""

    port: int | None = None
    kafka_port: int | None = None
    log_json: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A platform that answers: where, with which secrets, and how long its start took (seconds)."""

    home: Home
    addresses: Addresses
    secrets: Secrets
    seconds: float


class Platform:
    """One platform in one home directory.

    `say` is told each step in a line; `progress` makes what shows the first preparation while it lasts.
    """

    def __init__(
        self,
        home: Home,
        options: UpOptions,
        say: Callable[[str], None],
        progress: Callable[[], contextlib.AbstractContextManager[Progress]],
    ) -> None:
        self.home = home
        self.options = options
        self.supervisor = Supervisor(say)
        self.say = self.supervisor.say
        self.progress = progress
        self._running: Running | None = None
        self._untold = False
        self._disks = disk.Disks(home.root, disk.floor_of())
        self._said: dict[str, disk.State] = {}

    @contextlib.contextmanager
    def up(self) -> Iterator[Ready]:
        """Start everything, wait until it answers, and stop everything at the end, in reverse order.

        SIGINT and SIGTERM raise `Termination` inside; once it stops, SIGINT ends this process at once, and the kernel
        the others. Raises PlatformError, BrokerError or ConfigError with a sentence when something cannot start; then
        nothing is left running.
        """
        began = time.monotonic()
        self.home.make()
        with self.home.held(), raising():
            try:
                yield self._start(began)
            finally:
                insist()
                self.say("Stopping ...")
                self.supervisor.stop()
                if self._running is not None:
                    self._running.ready = False
                    self._tell()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Look after the processes until `until` says so, or until SIGINT or SIGTERM raises `Termination`."""
        looked = float("-inf")
        while not until():
            self.supervisor.tick()
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                self._look_at_disks()
                if self._untold:
                    self._tell()
            time.sleep(TICK)

    def _look_at_disks(self) -> None:
        """Say once that a disk gets full, that it is, and that there is room again."""
        for one in self._disks.look():
            before, self._said[one.name] = self._said.get(one.name, "ok"), one.state
            if one.state != before:
                self.say(f"{one.said or f'The disk of {one.name} has room again: {disk.size(one.free)}.'} ({one.path})")

    # -- inside -----------------------------------------------------------------------------------------------------
    def _start(self, began: float) -> Ready:
        last = self.home.running()
        if last is not None:
            self._end_leftovers(last)
        secrets = secret_settings.load_or_make(self.home.settings)
        if not os.environ.get(SITE_KEY_FILE):
            key_file.load_or_make(self.home.site_key)
        addresses = self._addresses(last)
        self._running = Running(os.getpid(), addresses.port, addresses.web, addresses.kafka, addresses.kafka_port)
        self.supervisor.changed = self._tell
        self._tell()
        known, signing = key_environ(self.home.platform_key, os.environ)
        base = plan.environment(self.home, addresses, log_json=self.options.log_json) | known

        lease = token_hex(16)
        claiming = base | secrets.values | {plan.LEASE: lease}
        with self._database(claiming, plan.claim(self.home, addresses)) as prepared:
            self._kafka(addresses, base)
            prepared()
        self.supervisor.check_alive()
        step = time.monotonic()
        for child in plan.processes(base, secrets.values, addresses, self.home.logs, lease, signing):
            self.supervisor.start(child)
        self._create_topics(base)
        self._wait_for_web(addresses)
        self.say(f"web, loggers, aggregator, launcher  ({time.monotonic() - step:.1f} s)")
        self._running.ready = True
        self._tell()
        return Ready(self.home, addresses, secrets, time.monotonic() - began)

    def _kafka(self, addresses: Addresses, base: dict[str, str]) -> None:
        if addresses.kafka_port is not None:
            step = time.monotonic()
            with self.progress() as progress:
                prepare(progress)
            broker = EmbeddedKafka(self.home.kafka, port=addresses.kafka_port)
            self.supervisor.start(BrokerChild(broker))
            self.say(f"Kafka        {addresses.kafka}  ({time.monotonic() - step:.1f} s)")
        else:
            config = client_config(addresses.kafka, endpoints.cloud(base).properties)
            brokers = knock(config, KAFKA_SECONDS)
            self.say(f"Kafka        {addresses.kafka}, {brokers} broker{'s' * (brokers != 1)}")

    def _addresses(self, last: Running | None) -> Addresses:
        port = plan.choose_port(self.options.port, last.port if last else None, plan.PORT, "--port")
        if port != plan.PORT and self.options.port is None and (last is None or last.port != port):
            self.say(f"Port {plan.PORT} is taken, so the web UI is at port {port}.")
        external = endpoints.cloud(os.environ).servers
        if external:
            if self.options.kafka_port is not None:
                raise ConfigError("--kafka-port is for our own broker, but KML_CLOUD_BOOTSTRAP_SERVERS names another")
            return Addresses(port, external, None)
        remembered = last.kafka_port if last else None
        kafka_port = plan.choose_port(self.options.kafka_port, remembered, plan.KAFKA_PORT, "--kafka-port")
        if kafka_port != plan.KAFKA_PORT and self.options.kafka_port is None and remembered != kafka_port:
            self.say(f"Port {plan.KAFKA_PORT} is taken, so Kafka is at port {kafka_port}.")
        return Addresses(port, f"{plan.HOST}:{kafka_port}", kafka_port)

    def _tell(self) -> None:
        """Write down what runs; where the disk does not take it now, `watch` does it later."""
        running = self._running
        if running is not None:
            running.processes = {name: (pid, identity(pid)) for name, pid in self.supervisor.pids().items()}
            self._untold = not quietly("writing down what runs", lambda: self.home.tell(running))

    def _end_leftovers(self, last: Running) -> None:
        """After a SIGKILL of the supervisor the kernel ends its children; wait for them, and help in the end."""

        def alive() -> list[int]:
            return [pid for pid, start in last.processes.values() if start is not None and identity(pid) == start]

        deadline = time.monotonic() + LEFTOVER_SECONDS
        while alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in alive():
            log.warning("process %d of the last platform did not end by itself and is killed", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def _database(self, environment: dict[str, str], command: list[str]) -> Iterator[Callable[[], None]]:
        """Take and prepare the database beside what else is done; what is yielded waits for it, or raises."""
        step = time.monotonic()
        process = start_child(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def wait() -> None:
            try:
                out, errors = process.communicate(timeout=MIGRATE_SECONDS)
            except subprocess.TimeoutExpired as error:
                limit = f"within {MIGRATE_SECONDS:.0f} s: does another process hold it?"
                raise PlatformError(f"the database could not be prepared {limit}") from error
            if process.returncode:
                raise PlatformError(self._unprepared((out + errors).decode(errors="replace"), process.returncode))
            if out.strip():
                self.say(f"database     brought up to date  ({time.monotonic() - step:.1f} s)")

        with process:
            try:
                yield wait
            finally:
                end_child(process)

    def _unprepared(self, told: str, code: int) -> str:
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        if lines and lines[-1].startswith(REFUSED):
            return lines[-1].removeprefix(REFUSED)
        log_file = self.home.logs / "database.out"
        quietly("keeping what the database said", lambda: log_file.write_text(told))
        reason = disk.lament(self.home.root) + (lines[-1] if lines else f"exit code {code}")
        return f"the database could not be prepared: {reason} (more in {log_file})"

    def _create_topics(self, base: dict[str, str]) -> None:
        cloud, data = endpoints.cloud(base), endpoints.data(base)
        for where, specs in ((cloud, topics.shared_topics()), (data, (topics.data_control_spec(),))):
            kafka = KafkaLog(client_config(where.servers, where.properties))
            try:
                kafka.create_topics(specs)
            except LogError as error:
                raise PlatformError(f"Kafka at {where.servers} does not do what it should: {error}") from error
            finally:
                kafka.close()

    def _wait_for_web(self, addresses: Addresses) -> None:
        deadline = time.monotonic() + READY_SECONDS
        answer = "nothing yet"
        while time.monotonic() < deadline:
            self.supervisor.check_alive()
            try:
                with urllib.request.urlopen(f"{addresses.web}/api/health/", timeout=5) as response:  # noqa: S310
                    if response.status == 200:
                        return
            except urllib.error.HTTPError as error:
                answer = f"status {error.code}"
            except OSError as error:
                answer = str(error)
            time.sleep(0.1)
        raise PlatformError(f"the web UI at {addresses.web} did not answer within {READY_SECONDS:.0f} s ({answer})")
