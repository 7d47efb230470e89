"""The rules that `mainstem acl` writes, tried on a real broker: every kind of topic, user and operation."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from mainstem.aggregator.federation import Federation
from mainstem.cli import main as cli
from mainstem.errors import LogError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import verify
from mainstem.protocol import topics
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import TopicSpec
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, open_federation
from tests.support.patience import PATIENCE
from tests.support.secured import Secured, secured_kafka

pytestmark = pytest.mark.kafka

USERS = ("server", "north", "feeder", "stranger")
WHO = ["--platform", "server", "--client", "north", "--feeder", "feeder"]
TOPICS = {
    "control": topics.control_topic("ddy6heod"),
    "data": topics.data_topic("ddy6heod"),
    "aggregator": topics.aggregator_topic("ddy6heod"),
    "announced": topics.MODEL_CONTROL,
    "streams": topics.DATA_CONTROL,
    "audit": topics.AUDIT,
    "samples": "ward-7",
}
ALL, READS, NOTHING = "create describe read write delete", "describe read", ""
MAY = {
    "server": dict.fromkeys(TOPICS, ALL) | {"samples": READS},
    "north": dict.fromkeys(TOPICS, NOTHING)
    | {"control": READS, "data": READS, "announced": READS, "aggregator": "describe write"},
    "feeder": dict.fromkeys(TOPICS, "describe")
    | {"streams": "create describe read write", "samples": "create describe read write"},
    "stranger": dict.fromkeys(TOPICS, NOTHING),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker, with the users of these tests; all topics are there."""
    with secured_kafka(tmp_path_factory.mktemp("acl")) as made:
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users = [UserScramCredentialUpsertion(user, credential, b"nobody's") for user in USERS]
        for future in made.admin.alter_user_scram_credentials(users).values():  # type: ignore[arg-type]
            future.result(PATIENCE)
        log = KafkaLog(client_config(made.at("plain")))
        log.create_topics([TopicSpec(name, 1, {}) for name in TOPICS.values()])
        for name in TOPICS.values():
            log.append(name, [Outgoing(b"value", key=b"key")])
        log.close()
        yield made


@pytest.fixture
def acl(secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command, as the administrator of that Kafka; its exit code."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", secured.at("secure"))
    monkeypatch.setenv("KML_CLOUD_CLIENT_CONFIG", str(secured.file(tmp_path)))
    return lambda *words: cli.main(["acl", *words])


@pytest.mark.parametrize("user", USERS)
def test_each_user_may_what_is_due_and_nothing_else(
    secured: Secured, tmp_path: Path, acl: Callable[..., int], user: str
) -> None:
    """Create, describe, read, write and delete, of every kind of topic: none is allowed that should not be."""
    assert acl("apply", *WHO, "--prune") == 0
    folder = tmp_path / user
    folder.mkdir()
    log = KafkaLog(secured.config(folder, user=user))
    try:
        may = {kind: tried(secured, log, name) for kind, name in TOPICS.items()}
    finally:
        log.close()
    assert may == {kind: set(those.split()) for kind, those in MAY[user].items()}


def tried(secured: Secured, log: KafkaLog, name: str) -> set[str]:
    """The operations that the topic's kind allows: made and deleted are topics beside it, whose names begin so."""
    unique = uuid.uuid4().hex[:8]
    beside = name.replace("ddy6heod", unique) if "ddy6heod" in name else name
    whole = beside == name  # a name that stands for itself can be made only where it is not
    admin = KafkaLog(client_config(secured.at("plain")))
    found = set()
    try:
        if allowed(lambda: log.partitions(name)):
            found.add("describe")
        if allowed(lambda: log.cursor(name, 0, 0).poll(PATIENCE)):
            found.add("read")
        if allowed(lambda: log.append(name, [Outgoing(b"again", key=b"key")])):
            found.add("write")
        if not whole:
            admin.create_topics([TopicSpec(beside, 1, {})])
        if allowed(lambda: log.delete_topics([beside])):
            found.add("delete")
        else:
            admin.delete_topics([beside])
        if allowed(lambda: log.create_topics([TopicSpec(beside, 1, {})])):
            found.add("create")
        if whole:
            admin.create_topics([TopicSpec(name, 1, {})])
            admin.append(name, [Outgoing(b"value", key=b"key")])
    finally:
        admin.close()
    return found


def allowed(do: Callable[[], object]) -> bool:
    """Whether the broker lets it be done."""
    told = ""
    try:
        do()
    except LogError as error:
        told = str(error)
    assert not told or "does not allow" in told, told
    return not told


@pytest.mark.parametrize("user", USERS)
def test_nobody_writes_the_offsets_of_groups(
    secured: Secured, tmp_path: Path, acl: Callable[..., int], user: str
) -> None:
    """Kafka takes such records from whoever may write its topic and calls itself as its own tools do."""
    assert acl("apply", *WHO, "--prune") == 0
    admin = KafkaLog(client_config(secured.at("plain")))
    admin.create_topics([TopicSpec("__consumer_offsets", 1, {"cleanup.policy": "compact"})])
    admin.close()
    log = KafkaLog({**secured.config(tmp_path, user=user), "client.id": "__admin_client"})
    try:
        assert not allowed(lambda: log.append("__consumer_offsets", [Outgoing(b"value", key=b"key")]))
    finally:
        log.close()


def test_a_federation_needs_no_more(secured: Secured, tmp_path: Path, acl: Callable[..., int]) -> None:
    """An aggregator as the platform's user and a client as a site's bring a run to its end."""
    assert acl("apply", *WHO, "--prune") == 0
    logs = []
    for user in ("server", "north"):
        (tmp_path / user).mkdir()
        logs.append(KafkaLog(secured.config(tmp_path / user, user=user)))
    server, north = logs
    try:
        id_ = open_federation(server, [np.zeros((30, 10), np.float32)], Rules(rounds=2, min_clients=1))
        aggregator = Federation(server, id_, clock=SystemClock(), writer="w")
        client = LightClient(north, id_, "a", lambda tensors, seq: [tensors[0] + np.float32(1)], 7)
        deadline = time.monotonic() + PATIENCE
        while aggregator.step(0.02) and time.monotonic() < deadline:
            client.step(0.01)
        aggregator.close()
        assert [proof.state for proof in verify(server, id_)] == ["proved"] * 3
    finally:
        for log in logs:
            log.close()


def test_a_difference_is_told_and_mended(acl: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing, what is more than is due; others' rules are left alone."""
    assert acl("apply", *WHO, "--client", "south", "--prune") == 0
    assert acl("check", *WHO) == 0
    capsys.readouterr()
    assert acl("check", "--platform", "south") == 1
    told = capsys.readouterr().out
    assert "missing: south may Delete topics that begin with FED-" in told
    assert "more than is due: south may Read group mainstem-reader" in told
    assert acl("apply", "--platform", "south") == 0
    assert "others of these users stay" in capsys.readouterr().out
    assert acl("apply", "--platform", "south", "--prune") == acl("check", "--platform", "south") == 0
    assert acl("check", *WHO) == 0
    assert acl("plan", "--client", "north", "--feeder", "north") == 1
    assert acl("plan") == 2
