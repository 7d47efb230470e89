"""Kafka goes back to an older copy of its data in mid-run: the run stands, and goes on once a person has said so."""

from __future__ import annotations

import json
import signal

import pytest

from tests.chaos.account import nobody_waits, projection_is_the_log, updates_count_once
from tests.chaos.platform import PlatformStage
from tests.chaos.service import CLIENTS, ROUNDS, alive, run, serves, told
from tests.support.older_copy import OlderCopy
from tests.support.patience import until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


def test_an_older_copy_changes_no_bit(platform: PlatformStage) -> None:
    """Copied in round 2, put back in round 4: what came after the copy is gone, and is told as such. Accepted, the run
    comes to the bytes of one that nothing disturbed."""
    undisturbed = run(platform)
    before = platform.newest
    federation = platform.federation(ROUNDS, CLIENTS)
    clients = [platform.client(federation, number, 0.5) for number in range(CLIENTS)]
    copy = OlderCopy(platform.ground, platform.ground.data, platform.directory / "copy", platform.ground.kill)
    pids = alive(platform)
    platform.mid_round(federation, 2)
    for client in clients:  # the run must not end meanwhile
        platform.signal(client, signal.SIGSTOP)
    copy.take()
    lost = platform.federation(ROUNDS, CLIENTS)
    until(lambda: lost in [run["federation"] for run in told(platform, "deployments/")["results"]], what="it is shown")
    for client in clients:
        platform.signal(client, signal.SIGCONT)
    platform.mid_round(federation, 4)

    copy.go_back()
    platform.reconnect()
    until(lambda: told(platform, f"deployments/{federation}/")["unwitnessed"], what="the word that its tail is lost")
    stands = platform.head(federation)
    assert stands is not None and stands.round < 4
    assert json.loads(platform.command("witness", "accept", federation, "--why", "an older copy", "--json"))["accepted"]

    head = platform.wait(federation, lambda head: head.state == "finished", 240)
    assert head.weights.sha256 == undisturbed
    assert [platform.left(client, 240) for client in clients] == [0] * CLIENTS
    until(lambda: told(platform, f"deployments/{lost}/")["lost"], what="the word that the run is gone")
    assert run(platform) == undisturbed
    for each in (before, federation, platform.newest):
        updates_count_once(platform.log, each, ROUNDS, CLIENTS)
        projection_is_the_log(platform, each)
    nobody_waits(platform.broker.bootstrap_servers, platform.newest)
    serves(platform)
    assert alive(platform) == pids
