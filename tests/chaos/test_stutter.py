"""A broker that stutters for a minute, as on a machine far beyond its load: every part is alive after it, and works."""

from __future__ import annotations

import signal
import time

import pytest

from tests.chaos.account import nobody_waits, projection_is_the_log, updates_count_once
from tests.chaos.platform import PlatformStage
from tests.chaos.service import CLIENTS, ROUNDS, alive, run, serves

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FROZEN, EVERY, SECONDS = 3.0, 3.3, 60.0


def test_a_minute_of_stutter(platform: PlatformStage) -> None:
    """Frozen 3 s of every 3.3 s: a run that was on ends with the undisturbed bytes, and so does one after it."""
    undisturbed = run(platform)
    federation = platform.federation(ROUNDS, CLIENTS)
    clients = [platform.client(federation, number, 0.3) for number in range(CLIENTS)]
    platform.mid_round(federation, 2)
    pids = alive(platform)

    began = time.monotonic()
    while time.monotonic() < began + SECONDS:
        platform.signal("kafka", signal.SIGSTOP)
        time.sleep(FROZEN)
        platform.signal("kafka", signal.SIGCONT)
        platform.announce_stream()  # the loggers have something to bring meanwhile
        time.sleep(EVERY - FROZEN)

    assert alive(platform) == pids
    head = platform.wait(federation, lambda head: head.state == "finished", 240)
    assert head.weights.sha256 == undisturbed
    assert [platform.left(client) for client in clients] == [0] * CLIENTS
    assert run(platform) == undisturbed
    for each in (federation, platform.newest):
        updates_count_once(platform.log, each, ROUNDS, CLIENTS)
        projection_is_the_log(platform, each)
    nobody_waits(platform.broker.bootstrap_servers, platform.newest)
    serves(platform)
    assert alive(platform) == pids
