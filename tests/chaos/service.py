"""Whether a whole platform does its work: a run to its end, and each part after trouble."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from mainstem.platform import secret_settings
from mainstem.rest import Api
from tests.chaos.platform import PlatformStage
from tests.support.patience import until

CLIENTS, ROUNDS = 3, 5


def alive(platform: PlatformStage) -> dict[str, int]:
    """The platform's own parts that run, and the process of each."""
    parts = platform.parts.items()
    return {name: part.process.pid for name, part in parts if not name.startswith("client") and platform.alive(name)}


def told(platform: PlatformStage, path: str) -> Any:
    """What the API answers an admin."""
    with Api(f"http://127.0.0.1:{platform.parts['web'].environment['MAINSTEM_BIND'].rpartition(':')[2]}") as api:
        api.login("admin", secret_settings.read(platform.home.settings)["MAINSTEM_ADMIN_PASSWORD"])
        return api.get(path)


def run(platform: PlatformStage) -> str:
    """The final sha256 of one federation that nothing disturbs."""
    federation = platform.federation(ROUNDS, CLIENTS)
    clients = [platform.client(federation, number, 0.05) for number in range(CLIENTS)]
    head = platform.wait(federation, lambda head: head.state == "finished")
    assert [platform.left(client) for client in clients] == [0] * CLIENTS
    return head.weights.sha256


def serves(platform: PlatformStage) -> None:
    """The web server asks Kafka, the launcher about a stream that was announced just now."""
    platform.announce_stream()
    assert told(platform, "topics/")
    stream = f"stream-{platform.streams - 1}"

    def surveyed() -> bool:
        with closing(sqlite3.connect(platform.home.database, timeout=20)) as database:
            query = "SELECT COUNT(*) FROM streams_datasource WHERE topic LIKE ? AND notice LIKE '%does not exist yet'"
            return bool(database.execute(query, (f"{stream}%",)).fetchone()[0])

    until(surveyed, what=f"a look at {stream}")
