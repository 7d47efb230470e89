"""A broker that stutters for a minute, as on a machine far beyond its load: every part is alive after it, and works."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing

import pytest

from mainstem.cli.api import Api
from mainstem.platform import secret_settings
from tests.chaos.account import nobody_waits, projection_is_the_log, updates_count_once
from tests.chaos.platform import PlatformStage
from tests.support.patience import until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FROZEN, EVERY, SECONDS = 3.0, 3.3, 60.0
CLIENTS, ROUNDS = 3, 5


def test_a_minute_of_stutter(platform: PlatformStage) -> None:
    """Frozen 3 s of every 3.3 s: a run that was on ends with the undisturbed bytes, and so does one after it."""
    undisturbed = run(platform)
    federation = platform.federation(ROUNDS, CLIENTS)
    clients = [platform.client(federation, number, 0.3) for number in range(CLIENTS)]
    platform.mid_round(federation, 2)
    pids = {name: part.process.pid for name, part in platform.parts.items() if not name.startswith("client")}

    began = time.monotonic()
    while time.monotonic() < began + SECONDS:
        platform.signal("kafka", signal.SIGSTOP)
        time.sleep(FROZEN)
        platform.signal("kafka", signal.SIGCONT)
        platform.announce_stream()  # the loggers have something to bring meanwhile
        time.sleep(EVERY - FROZEN)

    assert {name: platform.parts[name].process.pid for name in pids if platform.alive(name)} == pids
    head = platform.wait(federation, lambda head: head.state == "finished", 240)
    assert head.weights.sha256 == undisturbed
    assert [platform.left(client) for client in clients] == [0] * CLIENTS
    assert run(platform) == undisturbed
    for each in (federation, platform.newest):
        updates_count_once(platform.log, each, ROUNDS, CLIENTS)
        projection_is_the_log(platform, each)
    nobody_waits(platform.broker.bootstrap_servers, platform.newest)
    the_platform_serves(platform)
    assert {name: platform.parts[name].process.pid for name in pids if platform.alive(name)} == pids


def run(platform: PlatformStage) -> str:
    """The final sha256 of one federation that nothing disturbs."""
    federation = platform.federation(ROUNDS, CLIENTS)
    clients = [platform.client(federation, number, 0.05) for number in range(CLIENTS)]
    head = platform.wait(federation, lambda head: head.state == "finished")
    assert [platform.left(client) for client in clients] == [0] * CLIENTS
    return head.weights.sha256


def the_platform_serves(platform: PlatformStage) -> None:
    """The web server asks Kafka, the launcher about a stream that was announced just now."""
    platform.announce_stream()
    api = Api(f"http://127.0.0.1:{platform.parts['web'].environment['MAINSTEM_BIND'].rpartition(':')[2]}")
    api.login("admin", secret_settings.read(platform.home.settings)["MAINSTEM_ADMIN_PASSWORD"])
    with api:
        assert api.get("topics/")
    stream = f"stream-{platform.streams - 1}"

    def surveyed() -> bool:
        with closing(sqlite3.connect(platform.home.database, timeout=20)) as database:
            query = "SELECT COUNT(*) FROM streams_datasource WHERE topic LIKE ? AND notice LIKE '%does not exist yet'"
            return bool(database.execute(query, (f"{stream}%",)).fetchone()[0])

    until(surveyed, what=f"a look at {stream}")
