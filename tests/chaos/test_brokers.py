"""A federation on three Kafka brokers, and what one broker cannot have."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.chaos import account
from tests.chaos.brokers import AGGREGATORS, CLIENTS, ROUNDS, Brokers, BrokersStage, tell

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokersStage]:
    """Three brokers and two aggregators, for all tests of this file."""
    stage = BrokersStage(tmp_path_factory.mktemp("brokers"))
    yield stage
    stage.close()


def test_a_run_outlives_what_happens_to_its_brokers(stage: BrokersStage) -> None:
    """A leader that dies between weights and commit, an emptied disk, one restart after the other."""
    brokers = Brokers(stage, random.Random(1), tell)
    brokers.federation(("commit", "empty", "rolling", "election"))
    assert set(brokers.by_kind) >= {"commit", "empty"}, brokers.by_kind


def test_writers_wait_for_two_of_three_and_say_so(stage: BrokersStage) -> None:
    """Without a majority nothing is written; the aggregators say why, and the run ends as it would have."""
    id_ = stage.federation(ROUNDS, CLIENTS)
    clients = [stage.client(id_, n, 0.3) for n in range(CLIENTS)]
    stage.wait(id_, lambda head: head.round >= 1)
    for node in (1, 3):
        stage.cluster.nodes[node].kill()
    before, deadline = told(stage), time.monotonic() + 90
    while not any("does not answer" in line for line in told(stage) - before):
        assert time.monotonic() < deadline, "\n".join(told(stage) - before)
        time.sleep(0.2)
    stage.cluster.start()
    stage.wait(id_, lambda head: head.state == "finished")
    assert [stage.left(client) for client in clients] == [0] * CLIENTS
    account.updates_count_once(stage.log, id_, ROUNDS, CLIENTS)


def told(stage: BrokersStage) -> set[str]:
    """The lines that the aggregators have told so far."""
    return {
        line for n in range(AGGREGATORS) for line in (stage.directory / f"aggregator-{n}.log").read_text().splitlines()
    }
