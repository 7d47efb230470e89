"""Metrics: names, health, the port that serves them, and what the parts count."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from mainstem.aggregator.meters import FederationsCollector, Meters, Sight
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client.metered import kind_of
from mainstem.platform.plan import Addresses, processes
from mainstem.protocol import topics
from mainstem.protocol.batch import Batch
from mainstem.protocol.control import Entry
from mainstem.protocol.log import Record
from mainstem.protocol.messages import MemberState, Progress, Tick
from mainstem.relay.loop import FaultError, HandOverError, Receipt, UnacceptableError
from mainstem.relay.meters import MeteredSource, metered
from mainstem.rounds.refusals import Refusals
from mainstem.runtime.disk import Disks
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.port import port_of
from mainstem.runtime.metrics.serving import DisksCollector, serving
from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE


def value(name: str, **labels: str) -> float:
    """A sample of the process' registry, 0 where it was never set."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_names_are_unique_and_as_prometheus_wants_them() -> None:
    """Each name stands once, with our prefix, in the base unit, and says what it is."""
    found = [metric.name for metric in names.ALL]
    assert len(found) == len(set(found))
    for metric in names.ALL:
        assert re.fullmatch(r"mainstem_[a-z_]+", metric.name) and metric.help.endswith(".")
        assert not metric.name.endswith("_total") and not set(metric.labels) & {"client", "user", "topic_name"}
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_only_gauges_name_federations() -> None:
    """The label `federation` stands on gauges alone, which are gone when the federation is."""
    assert {metric.kind for metric in names.ALL if "federation" in metric.labels} == {"gauge"}


@pytest.mark.parametrize(("text", "port"), [("", None), ("  ", None), ("9464", 9464)])
def test_the_port_is_off_unless_it_is_set(text: str, port: int | None) -> None:
    """Without MAINSTEM_METRICS_PORT nothing listens."""
    assert port_of({"MAINSTEM_METRICS_PORT": text}) == port


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """The sentence names the variable."""
    with pytest.raises(ConfigError, match="MAINSTEM_METRICS_PORT"):
        port_of({"MAINSTEM_METRICS_PORT": text})


def test_health_says_which_loop_hangs() -> None:
    """A loop that has not turned for longer than it said is stuck; the others are not."""
    now = 0.0
    health = Health(lambda: now)
    health.turn()
    health.turn("outbox", 900)
    now = 121.0
    assert health.stuck() == ["main"] and health.ages() == {"main": 121.0, "outbox": 121.0}
    health.turn()
    assert health.stuck() == []


def test_what_fails_for_a_minute_while_others_are_served_is_stranded() -> None:
    """Not sooner, not where nobody is served, and no longer than until it works."""
    now, served = 0.0, True
    health = Health(lambda: now)

    def fails(at: float) -> list[str]:
        nonlocal now
        now = at
        health.failed("Kafka", LogError("Failed while waiting for controller"), lambda: served)
        return health.stranded()

    assert [fails(0), fails(59)] == [[], []]
    assert fails(61) == ["Kafka has failed for 61 s, though others are answered: Failed while waiting for controller"]
    served = False
    assert fails(70) == [], "Kafka is away for all: a new process would do no better"
    assert health.failing() == ["Kafka has failed for 70 s: Failed while waiting for controller"]
    served = True
    assert fails(80)
    health.worked("Kafka")
    assert health.stranded() == [] and health.failing() == []
    assert fails(81) == [] and fails(141)


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and body of an address of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """/metrics, /healthz and /readyz answer while the block lasts; a taken port is a sentence."""
    port, now = free_port(), 0.0
    monkeypatch.setenv("MAINSTEM_METRICS_PORT", str(port))
    health = Health(lambda: now)
    health.turn()
    with serving("tester", health) as listening:
        assert listening == port
        status, text = fetch(port, "/metrics")
        assert status == 200 and 'mainstem_info{part="tester"' in text and "mainstem_ready 0.0" in text
        assert fetch(port, "/healthz") == (200, "ok\n") and fetch(port, "/readyz") == (503, "not ready\n")
        now, health.ready = 1000.0, True
        assert fetch(port, "/healthz") == (503, "does not turn: main\n") and fetch(port, "/readyz")[0] == 200
        assert fetch(port, "/other")[0] == 404
        health.turn()
        health.failed("Kafka", "stuck")
        now += 60
        health.failed("Kafka", "stuck")
        told = "Kafka has failed for 60 s, though others are answered: stuck\n"
        assert fetch(port, "/healthz") == (503, told)
        with pytest.raises(ConfigError, match=f"MAINSTEM_METRICS_PORT {port}"), serving("second", health):
            pass
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2)


def test_kinds_of_topics_are_few() -> None:
    """Bytes are counted by a topic's role, never by its name."""
    assert kind_of(topics.control_topic("ddy6heod")) == "control"
    assert kind_of(topics.data_topic("ddy6heod")) == "data"
    assert kind_of(topics.aggregator_topic("ddy6heod")) == "aggregator"
    assert kind_of(topics.MODEL_CONTROL) == "announcements"
    assert kind_of("FED-ddy6heod-else") == kind_of("automl") == "other"


def test_refusals_count_once_each_and_anew_in_the_next_round() -> None:
    """What the machine lists is counted as it grows, also what it only tallies."""
    meters, refusals = Meters(), Refusals()
    before = value("mainstem_updates_refused_total", reason="stale")
    refusals.refuse("a", 1, "stale", "")
    meters.refused(refusals)
    meters.refused(refusals)
    refusals.more["stale"] += 2
    meters.refused(refusals)
    assert value("mainstem_updates_refused_total", reason="stale") - before == 3
    refusals = Refusals()
    refusals.refuse("a", 1, "stale", "")
    meters.refused(refusals)
    assert value("mainstem_updates_refused_total", reason="stale") - before == 4


def test_a_superseded_record_is_counted() -> None:
    """A worker's own record that did not take its place in the chain counts as superseded, another's does not."""
    before = value("mainstem_commits_superseded_total")
    mine = Entry(7, 0, cast(Any, Tick(writer="w")), problem="superseded")
    Meters().appended(7, [Entry(6, 0, None, problem="superseded"), mine])
    Meters().appended(9, [mine])
    assert value("mainstem_commits_superseded_total") - before == 1


def sight(federation: str, position: int, stepped: float, *states: str) -> Sight:
    """What a running federation shows."""
    made = Sight(federation, stepped)
    made.topic, made.position, made.round, made.since_ms = topics.aggregator_topic(federation), position, 3, 1_000
    made.age, made.ahead = 2.0, -0.5
    members = tuple(MemberState(client=f"c{n}", state=state, last_ms=0) for n, state in enumerate(states))
    made.progress = Progress(federation=federation, phase="open", round=4, needed=1, deadline_ms=None, members=members)
    return made


def collected(collector: FederationsCollector) -> dict[tuple[str, str], float]:
    """Samples by name and the value of their one label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_running_federations_are_shown() -> None:
    """Lag, age of the last step, clients by state; more than a hundred federations keep the largest and the maximum."""
    many = [sight(f"fed{number:05d}", number, 50.0, "training", "silent") for number in range(150)]
    shown = collected(FederationsCollector(lambda: many, lambda topic: 1000, lambda: 60.0))
    assert shown["mainstem_federations_open", ""] == 150
    assert shown["mainstem_clients", "training"] == shown["mainstem_clients", "silent"] == 150
    assert (
        shown["mainstem_federation_lag_records_max", ""] == shown["mainstem_federation_lag_records", "fed00000"] == 1000
    )
    assert shown["mainstem_federation_step_age_seconds_max", ""] == 10.0
    assert shown["mainstem_federation_round_age_seconds", "fed00007"] == 2.0 + 10.0
    assert shown["mainstem_federation_log_clock_ahead_seconds", "fed00007"] == -0.5
    assert sum(name == "mainstem_federation_lag_records" for name, _ in shown) == names.FEDERATIONS_SHOWN


def test_a_scrape_does_not_wait_for_kafka_again_and_again() -> None:
    """Where Kafka does not answer the first question, no other is asked, and the rest is shown."""
    asked: list[str] = []

    def silent(topic: str) -> None:
        asked.append(topic)

    few = [sight("aaaaaaaa", 1, 0.0), sight("bbbbbbbb", 1, 0.0)]
    shown = collected(FederationsCollector(lambda: few, silent, lambda: 1.0))
    assert len(asked) == 1 and ("mainstem_federation_lag_records_max", "") not in shown
    assert shown["mainstem_federation_round", "aaaaaaaa"] == 3


def batch() -> Batch:
    """One record of 1,000 ms since the epoch."""
    return Batch("cluster", {"t": "id"}, [Record("t", 0, 5, 1_000, b"ab", b"cdef")])


@pytest.mark.parametrize(
    ("error", "what"),
    [(HandOverError("away"), "backend"), (FaultError("fault"), "fault"), (UnacceptableError("body"), "body")],
)
def test_failed_deliveries_count_by_kind(error: Exception, what: str) -> None:
    """Each failed attempt counts, and the logger is not ready until one succeeds."""
    health = Health()
    health.ready = True

    def fail(batch: Batch) -> Receipt:
        raise error

    before = value("mainstem_relay_failures_total", what=what)
    with pytest.raises(type(error)):
        metered(fail, health)(batch())
    assert value("mainstem_relay_failures_total", what=what) - before == 1 and not health.ready


def test_deliveries_count_by_outcome() -> None:
    """Accepted, known and refused records, and the bytes of all of them."""
    health = Health()
    kinds = ("accepted", "duplicate", "refused")
    before = [value("mainstem_relay_records_total", outcome=kind) for kind in kinds]
    bytes_before = value("mainstem_relay_bytes_total")
    metered(lambda _: Receipt(3, 2, ["why"]), health)(batch())
    after = [value("mainstem_relay_records_total", outcome=kind) for kind in kinds]
    assert [a - b for a, b in zip(after, before, strict=True)] == [3, 2, 1]
    assert value("mainstem_relay_bytes_total") - bytes_before == 6 and health.ready


def test_a_logger_tells_how_far_it_is_behind() -> None:
    """The oldest record in hand gives the age until it is committed; a Kafka that is away makes it unready."""
    answers: list[Any] = [batch(), LogError("away")]

    def read(timeout: float) -> Batch:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return cast(Batch, answer)

    source = SimpleNamespace(batch=read, commit=lambda _: None, drained=lambda: True, lag=42)
    health = Health()
    metered_source = MeteredSource(cast(Any, source), health, now=lambda: 31.0)
    got = metered_source.batch(0)
    assert got is not None and health.ready and value("mainstem_relay_behind_seconds") == 30.0
    metered_source.commit(got)
    assert value("mainstem_relay_behind_seconds") == 0.0 and value("mainstem_relay_lag_records") == 42
    with pytest.raises(LogError):
        metered_source.batch(0)
    assert not health.ready


def test_a_part_shows_the_room_on_its_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below its MAINSTEM_HOME; a part without one has no disk to show, but the floor."""
    monkeypatch.setenv("MAINSTEM_DISK_FLOOR_BYTES", "7")
    for home, shown in ((str(tmp_path), ["MAINSTEM_HOME"]), ("", [])):
        monkeypatch.setenv("MAINSTEM_HOME", home)
        free, floor = DisksCollector(Disks.from_environ()).collect()
        assert [sample.labels["disk"] for sample in free.samples] == shown
        assert all(sample.value > 0 for sample in free.samples) and floor.samples[0].value == 7


def test_the_parts_of_one_machine_have_a_port_each(tmp_path: Path) -> None:
    """`mainstem up` gives its processes the ports from MAINSTEM_METRICS_PORT on; without it none has one."""
    secrets = {"MAINSTEM_SECRET_KEY": "k", "MAINSTEM_TOKEN": "t"}
    base, where = {"MAINSTEM_METRICS_PORT": "9464"}, Addresses(8000, "k:9092", None)
    children = processes(base, secrets, where, tmp_path)
    ports = {child.name: child.environment["MAINSTEM_METRICS_PORT"] for child in children}
    assert list(ports.values()) == ["9464", "9465", "9466", "9467", "9468"] and next(iter(ports)) == "web"
    assert {child.environment["MAINSTEM_METRICS_HOST"] for child in children} == {"127.0.0.1"}
    assert not any("MAINSTEM_METRICS_PORT" in child.environment for child in processes({}, secrets, where, tmp_path))
