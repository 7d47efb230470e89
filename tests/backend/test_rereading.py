"""The projection of a log that goes back to an older copy, is made anew, or loses topics: it says so, and follows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from backend.deployments.models import ControlRecord, Deployment, State
from backend.deployments.projection import projection
from backend.deployments.projection.auditor import LOOK_SECONDS, Auditor, audit
from backend.launchers.jobs.surveyor import Surveyor
from backend.streams import intake
from backend.streams.models import DataSource
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Progress, Rules, encode
from mainstem.protocol.topics import (
    DATA_CONTROL,
    MODEL_CONTROL,
    control_topic,
    data_control_spec,
    federation_topics,
    new_federation_id,
)
from mainstem.swarm.opening import announcement_of
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import Ticking, logged_in, text
from tests.backend.test_projection import example, rows
from tests.support import chains
from tests.vectors.examples import FEDERATION

pytestmark = [pytest.mark.backend, pytest.mark.django_db]
TOPIC = control_topic(FEDERATION)


class Run:
    """A federation's log, a logger that brings what is new of it, and the launcher's auditor."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log, self.position, self.now = log or MemoryLog(Ticking()), 0, 0.0
        self.log.create_topics(federation_topics(FEDERATION))
        self.auditor = Auditor(lambda: self.log, lambda: self.now)
        projection.forget_all()
        self.put(chains.opened(rounds=99))

    def put(self, record: msgspec.Struct) -> None:
        """Append a record."""
        self.log.append(TOPIC, [Outgoing(encode(record))])

    def rounds(self, count: int, writer: str = "0") -> None:
        """Commit rounds."""
        for _ in range(count):
            with closing(ControlTopic(self.log, FEDERATION)) as control:
                control.sync()
                assert control.head is not None
                self.put(chains.round_after(control.head, writer))

    def progress(self) -> None:
        """A word of the aggregator."""
        self.put(msgspec.structs.replace(example(Progress), members=(), refused=(), phase="open"))

    def records(self, start: int = 0) -> list[tuple[str, Record]]:
        """What a logger delivers from there on."""
        held = self.log.holdings([TOPIC])
        holding = held.topics[TOPIC]
        assert holding is not None
        return [(holding.id, record) for record in self.log.read(TOPIC, 0, start, holding.end)]

    def deliver(self, at_most: int = 1000) -> projection.Intake:
        """Up to so many new records reach the backend; a logger behind the log's end waits, as a deaf client does."""
        batch = self.records(min(self.position, self.log.bounds(TOPIC, 0)[1]))[:at_most]
        self.position = max(self.position, *(record.offset + 1 for _, record in batch)) if batch else self.position
        return projection.take("memory", batch)

    def audit(self) -> None:
        """The launcher's next look is due."""
        self.now += LOOK_SECONDS
        self.auditor.step()

    @property
    def row(self) -> Deployment:
        """The deployment."""
        return Deployment.objects.get(federation=FEDERATION)


OWN = {"doubt", "amended", "lost", "lost_count", "lost_hash"}
"""What the rows tell of their own past rather than of the log."""


def told() -> dict[str, list[dict[str, Any]]]:
    """The projected rows."""
    found = rows()
    found["Deployment"] = [{k: v for k, v in row.items() if k not in OWN} for row in found["Deployment"]]
    return found


def test_a_shorter_log_is_followed_and_said(
    client_of: Callable[[str], APIClient], user: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Rounds that the log no longer has go from the database, with a sentence over REST, on the page and in the log."""
    run = Run()
    run.rounds(2)
    copy = run.log.copy()
    run.rounds(3)
    run.deliver()
    assert (run.row.round, run.row.versions.count()) == (5, 6)
    run.log.restore(copy)
    run.audit()
    row = run.row
    assert (row.round, row.version, row.versions.count(), row.rounds.count()) == (2, 2, 3, 2)
    why = f"{TOPIC} ends at offset 3, and was read up to 6: Kafka was restored from an older copy"
    assert why in row.amended and not row.doubt
    assert (
        "3 control records from offset 3 on are gone; the run stood at round 5, version 5, and by the log at round 2"
        in (row.amended)
    )
    shown = client_of("viewer").get(f"/api/deployments/{FEDERATION}/").json()
    assert shown["amended"] == row.amended and row.amended in shown["detail"]
    assert client_of("viewer").get(f"/api/results/{FEDERATION}/").json()["amended"] == row.amended
    assert why in text(logged_in(user("operator")).get(f"/deployments/{FEDERATION}/"))
    assert why in caplog.text
    run.rounds(1, "1")
    run.position = 3
    assert run.deliver().accepted == 1
    run.audit()
    assert (run.row.round, run.row.amended) == (3, row.amended)


def test_a_record_that_contradicts_a_kept_one_is_not_decided_by_who_comes_last() -> None:
    """The log is asked: a logger that still has what is gone changes nothing, whether it comes before or after."""
    run = Run()
    run.rounds(1)
    copy = run.log.copy()
    run.rounds(2)
    stale = run.records(2)
    run.deliver()
    run.log.restore(copy)
    run.rounds(2, "1")
    run.position = 2
    reason = (
        f"{TOPIC} holds another record at offset 2 than was read there before: Kafka was restored from an older copy"
    )
    assert [refused["reason"].startswith(reason) for refused in run.deliver().refused] == [True, True]
    assert run.row.doubt.startswith(reason)
    run.audit()
    assert run.row.sha256 == "1" * 64 and run.row.round == 3 and not run.row.doubt
    amended = run.row.amended
    assert projection.take("memory", stale).accepted == 0
    run.audit()
    assert run.row.sha256 == "1" * 64 and (run.row.doubt, run.row.amended) == ("", amended)


def test_a_head_that_was_replaced_without_a_word_is_found() -> None:
    """Grown again to the same end, and nothing was delivered: the auditor compares the bytes."""
    run = Run()
    copy = run.log.copy()
    run.rounds(2)
    run.progress()
    run.deliver()
    run.log.restore(copy)
    run.rounds(2, "1")
    run.progress()
    run.audit()
    assert run.row.sha256 == "1" * 64 and "holds another record at offset 2" in run.row.amended


def test_a_topic_that_was_made_anew() -> None:
    """Its id tells: the rows are those of the new one."""
    run = Run()
    run.rounds(2)
    run.deliver()
    run.log.delete_topics([TOPIC])
    run.log.create_topics(federation_topics(FEDERATION))
    run.put(chains.opened(rounds=3))
    for _, record in run.records():
        refused = projection.take("memory", [("another", record)]).refused
        assert "known from another topic of that name" in refused[0]["reason"]
    run.audit()
    assert (run.row.round, run.row.rules["rounds"]) == (0, 3) and not run.row.doubt
    assert ControlRecord.objects.count() == 1
    assert "3 control records from offset 0 on are gone" in run.row.amended


def test_deleted_topics_are_said(client_of: Callable[[str], APIClient], user: Callable[[str], Any]) -> None:
    """An open run is no longer "running"; a word of its aggregator does not change that; back again, it goes on."""
    run = Run()
    run.rounds(1)
    run.progress()
    run.deliver()
    assert run.row.state == State.RUNNING
    copy = run.log.copy()
    gone = [spec.name for spec in federation_topics(FEDERATION) if spec.name != TOPIC]
    run.log.delete_topics(gone)
    run.audit()
    assert run.row.state == State.RUNNING  # a cluster that just starts may not know all of its topics
    run.audit()
    sentence = f"Kafka has no topics {', '.join(gone)}: they were deleted. No round can be committed without; "
    assert run.row.state == State.LOST and run.row.lost.startswith(sentence)
    run.progress()
    run.deliver()
    shown = client_of("viewer").get(f"/api/deployments/{FEDERATION}/").json()
    assert (shown["state"], shown["waits_for"]) == ("lost", []) and sentence in shown["detail"]
    page = text(logged_in(user("operator")).get(f"/deployments/{FEDERATION}/"))
    assert sentence in page and "without topics" in page
    run.log.restore(copy)
    run.progress()
    run.audit()
    assert (run.row.state, run.row.lost) == (State.RUNNING, "")


def test_an_ended_run_keeps_its_state_without_topics() -> None:
    """What is shown can no longer be proved, and that is said."""
    run = Run()
    run.deliver()
    Deployment.objects.update(state=State.FINISHED)
    run.log.delete_topics([spec.name for spec in federation_topics(FEDERATION)])
    run.audit()
    run.audit()
    assert run.row.state == State.FINISHED and run.row.lost.endswith("can no longer be proved from the log.")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("rounds"), st.sampled_from("0123")),
        st.tuples(st.sampled_from(["progress", "copy", "restore", "audit", "rewind"]), st.just("")),
        st.tuples(st.just("deliver"), st.integers(1, 4)),
        st.tuples(st.just("stale"), st.integers(0, 20)),
    ),
    max_size=25,
)


def follow(plan: Sequence[tuple[str, Any]]) -> None:
    """Carry out the plan, let the logger and the auditor have their turn, and compare with a plain reading."""
    Deployment.objects.all().delete()
    ControlRecord.objects.all().delete()
    run = Run()
    copy, seen = run.log.copy(), run.records()
    for what, how in plan:
        match what:
            case "rounds":
                run.rounds(1, how)
            case "deliver":
                run.deliver(how)
            case "copy":
                copy = run.log.copy()
            case "restore":
                seen += run.records()
                run.log.restore(copy)
            case "rewind":  # a logger whose group knows less, or which begins anew
                run.position = 0
            case "stale":  # what a logger had read before, and brings late
                projection.take("memory", seen[how : how + 3])
            case _:
                getattr(run, what)()
    run.deliver()
    run.audit()
    run.position = 0
    run.deliver()
    run.audit()
    assert not run.row.doubt
    if all(what != "restore" for what, _ in plan):
        assert not run.row.unwitnessed  # a log that lost nothing is never called so, however late its loggers are
    found = told()
    Deployment.objects.all().delete()
    ControlRecord.objects.all().delete()
    projection.forget_all()
    projection.take("memory", run.records())
    assert found == told()


@settings(max_examples=60)
@given(plan=steps)
def test_whatever_the_log_goes_through_the_rows_are_those_of_the_log(plan: list[tuple[str, Any]]) -> None:
    """Rounds, older copies, loggers that are deaf, late or begin anew: in the end a plain reading gives the same."""
    with transaction.atomic():
        follow(plan)
        transaction.set_rollback(True)


def test_a_projection_that_goes_by_offsets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a record is the known one by its offset alone. A log that has grown again to the same end shows it."""
    plan = [("rounds", "0"), ("rounds", "0"), ("deliver", 4), ("restore", ""), ("rounds", "1"), ("rounds", "1")]
    follow(plan)
    monkeypatch.setattr(ControlRecord, "equals", lambda self, record: True)
    with pytest.raises(AssertionError):
        follow(plan)


def test_a_rebuild_repairs_it() -> None:
    """All heads are compared at once."""
    run = Run()
    copy = run.log.copy()
    run.rounds(2)
    run.deliver()
    run.log.restore(copy)
    run.rounds(2, "1")
    assert audit(run.log) == 1 and run.row.sha256 == "1" * 64
    assert audit(run.log) == 0


def test_an_announcement_that_stands_where_another_was() -> None:
    """What the log holds there now is kept, and becomes known; the other is nobody's record any more."""
    for number, name in enumerate(("first", "second")):
        federation = new_federation_id()
        value = announcement_of(federation, Rules(), name=name).value
        assert isinstance(value, bytes)
        record = Record(MODEL_CONTROL, 3, 7, 1000 + number, federation.encode(), value, {})
        for again in (0, 1):
            taken = projection.take("c", [("t", record)])
            assert (taken.accepted, taken.duplicates, taken.refused) == (1 - again, again, [])
        assert ControlRecord.objects.get(topic=MODEL_CONTROL).equals(record)
        assert Deployment.objects.get(federation=federation).name == name


def test_a_stream_whose_announcement_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Another one at its offset takes its place; one behind the end of the announcements goes."""
    log = MemoryLog(Ticking())
    log.create_topics([data_control_spec()])

    def announce(topic: str) -> DataSource:
        value = f'{{"topic": "{topic}:0:0:9", "input_format": "RAW", "input_config": {{}}, "total_msg": 9}}'.encode()
        (offset,) = log.append(DATA_CONTROL, [Outgoing(value)])
        (record,) = log.read(DATA_CONTROL, 0, offset, offset + 1)
        identity = log.identify(DATA_CONTROL)
        assert identity is not None
        source, fresh = intake.take("memory", identity.id, record)
        assert fresh and not intake.take("memory", identity.id, record)[1]
        return source

    announce("first")
    copy = log.copy()
    announce("second")
    announce("third")
    log.restore(copy)
    with caplog.at_level(logging.ERROR):
        announce("other")
        Surveyor(lambda: log, lambda: 1e9).step()
    assert [source.topic for source in DataSource.objects.order_by("offset")] == ["first:0:0:9", "other:0:0:9"]
    assert f"stream second:0:0:9 is no longer announced: {DATA_CONTROL} holds another announcement" in caplog.text
    assert f"stream third:0:0:9 is no longer announced: {DATA_CONTROL} ends at offset 2, before" in caplog.text
