"""The admin client that is made anew when it keeps failing."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mainstem.kafka.client import admin, leaders
from mainstem.kafka.client.admin import Administrator
from mainstem.kafka.client.renewed import FAILURES


class Stuck:
    """In the place of librdkafka's client: those that were made before the broker was well again never answer."""

    made = 0
    well = 2

    def __init__(self, config: dict[str, object]) -> None:
        Stuck.made += 1
        self.number = Stuck.made

    def ask(self) -> int:
        if self.number < Stuck.well:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Failed while waiting for controller"))
        return self.number


def test_a_stuck_client_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few failures in a row, no sooner, a new client asks; one that works is kept."""
    monkeypatch.setattr(admin, "AdminClient", Stuck)
    administrator = Administrator({})

    def ask() -> int:
        with administrator.lend() as client:
            return client.ask()  # type: ignore[attr-defined, no-any-return]

    for _ in range(FAILURES):
        with pytest.raises(KafkaException, match="waiting for controller"):
            ask()
    assert [ask() for _ in range(5)] == [2] * 5 and Stuck.made == 2
    Stuck.well = 4
    for _ in range(FAILURES - 1):
        with pytest.raises(KafkaException):
            ask()
    Stuck.well = 1
    ask()
    Stuck.well = 4
    with pytest.raises(KafkaException):
        ask()
    assert Stuck.made == 2, "an answer between them begins the count anew"


def test_a_client_that_does_not_even_time_out_counts() -> None:
    """A future that is never settled is a failure as any other, and an error of Kafka's for who asked."""
    administrator = Administrator({"bootstrap.servers": "127.0.0.1:1"})
    with administrator.lend() as first:
        pass
    for _ in range(FAILURES):
        with pytest.raises(KafkaException, match="Timed out"), administrator.lend():
            Future[int]().result(timeout=0)
    with administrator.lend() as second:
        assert second is not first
    administrator.close()


class Behind:
    """A client that holds on to a leader before the last election; its successor knows better."""

    made = 0

    def __init__(self, config: dict[str, object]) -> None:
        Behind.made += 1
        self.number = Behind.made

    def list_offsets(self, asked: dict[TopicPartition, object], request_timeout: float) -> dict[TopicPartition, Any]:
        answer: Future[int] = Future()
        if self.number == 1:
            answer.set_exception(KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)))
        else:
            answer.set_result(0)
        return dict.fromkeys(asked, answer)


def test_a_client_that_is_behind_an_election_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be refused for its epoch until its metadata are a quarter of an hour old."""
    monkeypatch.setattr(admin, "AdminClient", Behind)
    monkeypatch.setattr(leaders, "PATIENCE", 0.0)
    leaders.await_leaders(Administrator({}), {"new": 3}, 60)
    assert Behind.made == 2
