"""What somebody could write who reaches the broker, on a running federation: refused, counted, explained, and the run
ends with the very model of the undisturbed one."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.aggregator.witnesses import Guard
from mainstem.aggregator.worker import Worker
from mainstem.cli.main import main
from mainstem.errors import ConfigError
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import RunFile, export, read_history, verify
from mainstem.lineage.frames import frame, read_frame
from mainstem.protocol import announcing
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import (
    Admission,
    Changed,
    Command,
    Failed,
    Finished,
    Joined,
    Left,
    Reason,
    Round,
    Rules,
    Stopped,
    encode,
    sha256,
)
from mainstem.protocol.signing import HEADER, SigningKey, signed_by
from mainstem.protocol.topics import MODEL_CONTROL, aggregator_topic, control_topic
from mainstem.rounds import successor
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import announcement_of
from tests.support.federations import LightClient, TrainFunction, open_federation, rounds_of
from tests.support.patience import PATIENCE
from tests.support.signers import FORGER, PLATFORM, enrolled, key_of

pytestmark = pytest.mark.kafka

SITES = {"a": "A", "b": "B", "c": "A"}
Attack = Callable[[Head], None]


def opened(log: KafkaLog, admission: Admission, **rules: Any) -> str:
    """A signed federation of two sites over three rounds."""
    start = [np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)]
    said = Rules(**({"rounds": 3, "min_clients": 2} | rules), admission=admission)
    return open_federation(log, start, said, key=PLATFORM)


def clients_of(log: KafkaLog, federation: str, names: Sequence[str] = ("a", "b")) -> list[LightClient]:
    """Each signs with its own site's key; `a` sends its updates in chunks."""
    trains: dict[str, TrainFunction] = {
        "a": lambda t, s: [t[0] + np.float32(0.1 * s + 0.1)],
        "b": lambda t, s: [t[0] * np.float32(0.9)],
    }
    trains["c"] = trains["a"]
    return [
        LightClient(
            log, federation, n, trains[n], 7, packed=0 if n == "a" else 900_000, key=key_of(SITES[n])
        )
        for n in names
    ]  # fmt: skip


def run(log: KafkaLog, federation: str, clients: Sequence[LightClient], attack: Attack = lambda head: None) -> Head:
    """To the end; the attack comes once, when the first round is committed."""
    aggregator = Federation(log, federation, clock=SystemClock(), writer="w", key=PLATFORM)
    deadline, attacked = time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < deadline:
            alive = aggregator.step(0.02)
            head = aggregator.machine.head
            if not attacked and head is not None and head.round == 1:
                attacked = True
                attack(head)
            left = [client for client in clients if not client.gone and client.step(0.01)]
            if not alive and not left:
                return read_history(log, federation).head
    finally:
        aggregator.close()
    raise AssertionError("the run did not end")


def undisturbed(log: KafkaLog) -> str:
    """The sha256 of the model that nobody attacked."""
    federation = opened(log, enrolled("A", "B"))
    return run(log, federation, clients_of(log, federation)).weights.sha256


def test_forged_records_of_the_platform(log: KafkaLog) -> None:
    """A commit, an end, a failure, changed rules, a stop, a command: unsigned, and signed by somebody else."""
    federation = opened(log, enrolled("A", "B"))
    topic = control_topic(federation)

    def attack(head: Head) -> None:
        forged: list[Any] = [
            successor(head, Finished, {"version": head.base.version, "sha256": head.weights.sha256}),
            successor(head, Failed, {"detail": "it failed"}),
            successor(head, Changed, {"rules": msgspec.structs.replace(head.rules, rounds=1), "command": 1}),
            successor(head, Stopped, {"command": 1}),
            Command(federation=federation, action="stop", id="1"),
        ]
        (commit,) = rounds_of(log, federation)
        forged.append(msgspec.structs.replace(commit, seq=commit.seq + 1, prev=head.link.hash, round=2, version=2))
        for key in (None, FORGER):
            log.append(topic, [signed_by(key, topic, Outgoing(encode(record))) for record in forged])

    head = run(log, federation, clients_of(log, federation), attack)
    assert (head.state, head.round) == ("finished", 3)
    assert head.weights.sha256 == undisturbed(log)
    history = read_history(log, federation)
    assert history.forged == 12 and not history.strays
    proofs = list(verify(log, federation))
    assert [proof.state for proof in proofs] == ["proved"] * 4 + ["ignored"]
    assert all(proof.platform == PLATFORM.public for proof in proofs[:4])
    assert all(proof.sites == {"a": "A", "b": "B"} for proof in proofs[1:4])


def test_forged_records_of_clients(log: KafkaLog) -> None:
    """An update in another's name, one of another federation, a `left` for somebody else, a stranger's `joined`."""
    other, federation = (opened(log, enrolled("A", "B")) for _ in range(2))
    sha = run(log, other, clients_of(log, other)).weights.sha256
    theirs, ours = aggregator_topic(other), aggregator_topic(federation)
    sent = rounds_of(log, other)[1].accepted
    replayed = [next(iter(log.read(theirs, 0, item.offset, item.offset + 1))) for item in sent if item.client == "b"]

    def attack(head: Head) -> None:
        left = Outgoing(encode(Left(client="a", incarnation="1")), key=b"a")
        stranger = Outgoing(encode(Joined(federation=federation, client="c", incarnation="1", examples=9)), key=b"c")
        taken = Outgoing(encode(Joined(federation=federation, client="a", incarnation="2", examples=9)), key=b"a")
        log.append(ours, [left, signed_by(FORGER, ours, left), signed_by(key_of("B"), ours, left)])
        log.append(ours, [stranger, signed_by(FORGER, ours, stranger), signed_by(key_of("B"), ours, taken)])
        for record in replayed:  # as it is; and signed anew, by the other site
            log.append(ours, [Outgoing(record.value, record.key, tuple(record.headers.items()))])
            headers = tuple(pair for pair in record.headers.items() if pair[0] != HEADER)
            manifest = record.headers["manifest"]
            log.append(ours, [Outgoing(record.value, record.key, (*headers, key_of("A").sign(ours, manifest)))])

    head = run(log, federation, clients_of(log, federation), attack)
    assert head.weights.sha256 == sha
    refused = [each for record in rounds_of(log, federation) for each in record.refused]
    assert [each.reason for each in refused] == [Reason.UNAUTHORISED] * 8
    words = " ".join(each.detail for each in refused)
    assert "it is not signed" in words and "with a key that this run does not admit" in words
    assert "the client id is one of site A, and site B has signed this record" in words
    assert "was made for another topic or record" in words
    assert {proof.state for proof in verify(log, federation)} == {"proved"}


def test_a_site_is_revoked_in_mid_run(log: KafkaLog) -> None:
    """From there on its clients count for nothing, and the others go on to the end."""
    federation = opened(log, enrolled("A", "B"))
    clients = clients_of(log, federation, ("a", "b", "c"))

    def attack(head: Head) -> None:
        order = Command(federation=federation, action="admission", id="1", admission=enrolled("A"))
        ControlTopic(log, federation, key=PLATFORM).append(order)

    head = run(log, federation, clients, attack)
    assert head.rules.admission == enrolled("A")
    rounds = rounds_of(log, federation)
    assert "b" in {accepted.client for accepted in rounds[0].accepted}
    assert {accepted.client for accepted in rounds[-1].accepted} == {"a", "c"}
    assert Reason.UNAUTHORISED in {each.reason for record in rounds for each in record.refused if each.client == "b"}
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * 4


def test_a_site_s_key_has_expired(log: KafkaLog) -> None:
    """By the log's time: the other site's client makes the run alone."""
    federation = opened(log, enrolled("A", "B", B=int(time.time() * 1000) - 1), min_clients=1)
    clients = clients_of(log, federation)
    clients[1].step(0.5)
    head = run(log, federation, clients[:1])
    assert head.state == "finished"
    refused, *_ = rounds_of(log, federation)[0].refused
    assert (refused.client, refused.reason) == ("b", Reason.UNAUTHORISED)
    assert "the key of site B was valid until" in refused.detail


def test_another_platform_s_aggregator_stands_still(log: KafkaLog) -> None:
    """What it would write counts for nobody: it says so, and writes nothing."""
    federation = opened(log, enrolled("A", "B"))
    for key in (None, FORGER):
        aggregator = Federation(log, federation, clock=SystemClock(), writer="w", key=key)
        with pytest.raises(ConfigError, match=r"signed by the platform .*MAINSTEM_PLATFORM_KEY_FILE"):
            aggregator.step(0.1)
        aggregator.close()
    assert log.bounds(control_topic(federation), 0)[1] == 1


# ---------------------------------------------------------------- what an export says
def tampered(path: Path, target: Path, change: Callable[[Record], Record | None]) -> Path:
    """The file with other records, and a manifest that fits them."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        manifest = msgspec.json.decode(old.read("manifest.json"))
        for part in manifest["parts"]:
            with old.open(part["entry"]) as source:
                records = [read_frame(source, part["topic"], part["partition"]) for _ in range(part["records"])]  # type: ignore[arg-type]
            kept = [found for record in records if (found := change(record)) is not None]
            data = b"".join(bytes(piece) for record in kept for piece in frame(record))
            part |= {"records": len(kept), "nbytes": len(data), "sha256": sha256(data)}
            new.writestr(zipfile.ZipInfo(part["entry"]), data)
        new.writestr(zipfile.ZipInfo("manifest.json"), msgspec.json.encode(manifest))
    return target


def test_an_export_is_proved_with_its_signatures(
    log: KafkaLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline: by whom each update and each commit was signed; without a signature, or with another, it differs."""
    federation = opened(log, enrolled("A", "B"))
    run(log, federation, clients_of(log, federation))
    path = tmp_path / "run"
    export(log, federation, path)
    assert main(["verify", "--file", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"signed by the platform with the key {PLATFORM.public}" in said and "signed: a by A, b by B" in said
    update = rounds_of(log, federation)[1].accepted[0]
    commit = next(
        e for e in ControlTopic(log, federation).sync() if isinstance(e.record, Round) and e.record.round == 2
    )

    def at(topic: str, offset: int, key: SigningKey | None) -> Callable[[Record], Record]:
        def change(record: Record) -> Record:
            if (record.topic, record.offset) != (topic, offset):
                return record
            headers = {name: value for name, value in record.headers.items() if name != HEADER}
            if key is not None:
                headers |= dict([key.sign(topic, record.headers.get("manifest", record.value or b""))])
            return replace(record, headers=headers)

        return change

    for number, (topic, offset, key, told) in enumerate(
        (
            (aggregator_topic(federation), update.offset, None, "it is not signed"),
            (aggregator_topic(federation), update.offset, FORGER, "with a key that this run does not admit"),
            (control_topic(federation), commit.offset, None, "it is not signed"),
            (control_topic(federation), commit.offset, FORGER, "is not the platform's"),
        )
    ):
        other = tampered(path, tmp_path / f"run-{number}", at(topic, offset, key))
        with RunFile(other) as file:
            proofs = list(file.proofs())
        differing = [proof for proof in proofs if proof.state == "differs"]
        assert differing and told in " ".join(proof.detail for proof in differing), proofs
        assert main(["verify", "--file", str(other)]) == 1


def test_an_announcement_of_somebody_else(log: KafkaLog) -> None:
    """A worker of the platform takes its own announcements alone, and no stranger's tombstone."""
    federation = opened(log, enrolled("A", "B"))
    rules = read_history(log, federation).opened.rules

    def make(name: str, guard: Guard) -> Federation:
        return Federation(log, name, clock=SystemClock(), writer="w", key=PLATFORM, guard=guard)

    worker = Worker(make, log.existing, platform=PLATFORM.public)

    def told(outgoing: Outgoing) -> bool:
        value = None if outgoing.value is None else bytes(outgoing.value)
        worker.announced(Record(MODEL_CONTROL, 0, 0, 0, outgoing.key, value, dict(outgoing.headers)))
        return federation in worker._turns.places

    try:
        assert not told(announcement_of(federation, rules))
        assert not told(announcement_of(federation, rules, key=FORGER))
        assert told(announcement_of(federation, rules, key=PLATFORM))
        assert told(announcing.withdrawn(federation))
        assert told(announcing.withdrawn(federation, FORGER))
    finally:
        worker.close()
