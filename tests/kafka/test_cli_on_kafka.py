"""Commands that ask Kafka itself, at a real broker."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.cli.main import main
from mainstem.errors import LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.messages import Rules
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import Pool, make, open_federation
from tests.support.federations import rounds_of
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka


def test_topics_of_a_federation_that_there_is_not(
    kafka: EmbeddedKafka, log: KafkaLog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty table would look like success: it is an error with a sentence, as JSON too."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    name = topics.new_federation_id()
    log.create_topics(topics.federation_topics(name))
    for unknown in ("nosuch", topics.new_federation_id()):
        for more in ([], ["--json"]):
            assert main(["topics", "--federation", unknown, *more]) == 1
            assert f"no topic of federation '{unknown}': `mainstem topics` lists all" in capsys.readouterr().err
    assert main(["topics", "--federation", name]) == 0
    told = capsys.readouterr().out
    assert all(spec.name in told for spec in topics.federation_topics(name))


def test_clients_wait_for_a_deployment_that_was_just_created(log: KafkaLog) -> None:
    """Started before there are topics, they take part as soon as the run is opened."""
    name = topics.new_federation_id()
    pool = Pool(log, name, [make("noise", n) for n in range(2)], opening=PATIENCE)
    clients = threading.Thread(target=pool.run, args=(threading.Event(),))
    clients.start()
    log.create_topics(topics.federation_topics(name))
    open_federation(log, [np.zeros(10, np.float32)], Rules(rounds=1, min_clients=2), federation=name)
    driver = Federation(log, name, clock=SystemClock(), writer="w")
    while driver.step(0.1):
        pass
    clients.join(PATIENCE)
    driver.close()
    assert not clients.is_alive()
    assert [len(record.accepted) for record in rounds_of(log, name)] == [2]


@pytest.mark.parametrize("topics_there", [False, True])
def test_clients_of_a_federation_that_is_never_opened_say_so(log: KafkaLog, topics_there: bool) -> None:
    """They wait as long as they are told to, and leave at once when they are told to."""
    name = topics.new_federation_id()
    if topics_there:
        log.create_topics(topics.federation_topics(name))
    with pytest.raises(LogError, match=rf"federation {name} was not opened within 0\.3 s: is it a deployment's id\?"):
        Pool(log, name, [make("noise", 0)], opening=0.3).run(threading.Event())
    leave = threading.Event()
    leave.set()
    Pool(log, name, [make("noise", 0)]).run(leave)
