"""docs/protocol.md says what is so: what a writer of another client would stumble over, each against the code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated_training.job.sink import FederatedKafkaMLAggregationSink
from mainstem.aggregation.blocks import reader
from mainstem.aggregation.reduction import Counted, reduce
from mainstem.aggregation.strategies import Claim, make
from mainstem.client.voice import Presence, UpdateClaim
from mainstem.protocol.control import PAGES_HELD
from mainstem.protocol.exchange import exchange, exchange_of
from mainstem.protocol.messages import Accepted, Base, Left, Page, Paged, PageRef, Report, Round, Rules, encode, sha256
from mainstem.protocol.topics import federation_topics
from mainstem.protocol.weights import specs_of
from mainstem.rounds.membership import Roster
from mainstem.rounds.modes import polynomial
from mainstem.rounds.policy import Policy
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import Topic, opened
from tests.support.machines import World
from tests.support.patience import PATIENCE
from tests.unit.test_rounds_members import joined, newest, order, settled
from tests.vectors.examples import FEDERATION
from tests.vectors.generate import HERE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")
EXAMPLE = PAGE.partition("## 12. A worked example")[2]
RECORDS: list[dict[str, str]] = json.loads((HERE / "records.json").read_text("utf-8"))


# ---------------------------------------------------------------- section 12
def test_the_worked_example_s_chain_can_be_followed() -> None:
    """Each hash that the page prints is its record's, and each record of the chain names the one before."""
    places = [r for r in RECORDS if re.search(r'"seq":\d+,"prev"', r["value"]) and r["type"] != "paged"]
    values = [json.loads(r["value"]) for r in places]
    assert [value["seq"] for value in values] == list(range(len(values)))
    hashes = [hashlib.sha256(r["value"].encode()).hexdigest() for r in places]
    assert [value["prev"] for value in values] == ["", *hashes[:-1]]
    assert re.findall(r"`([0-9a-f]{64})`", EXAMPLE) == [hashes[0], hashes[1]]
    kinds = [r["type"] for r in places]
    assert f"`{'`, `'.join(kinds)}`" in EXAMPLE.replace("\n", " ")


def test_the_worked_example_s_pages() -> None:
    """`finished` again, as a `page` that comes before its `paged` record and hashes to what that says."""
    kinds = [r["type"] for r in RECORDS]
    assert kinds.index("page") < kinds.index("paged")
    page, paged = (RECORDS[kinds.index(kind)] for kind in ("page", "paged"))
    told = json.loads(paged["value"])
    assert told["pages"][0]["sha256"] == hashlib.sha256(page["value"].encode()).hexdigest()
    text = json.loads(page["value"])["data"]
    assert told["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert text == RECORDS[kinds.index("finished")]["value"]


def test_the_worked_example_s_chunks() -> None:
    """The table's bytes and the digests are those of weights.json."""
    vector = json.loads((HERE / "weights.json").read_text("utf-8"))
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|$", EXAMPLE, re.MULTILINE)
    assert rows == [
        (
            str(chunk["offset"]),
            chunk["headers"]["index"],
            base64.b64decode(chunk["value_base64"]).hex(),
        )
        for chunk in vector["chunks"]
    ]
    packed = json.loads(vector["packed"]["headers"]["manifest"])["weights"]
    assert vector["weights"]["sha256"] in EXAMPLE and packed["sha256"] in EXAMPLE
    assert f"their {packed['nbytes']} bytes" in EXAMPLE.replace("\n", " ")
    said = vector["weights"]
    assert f'"chunks": {said["chunks"]}' in EXAMPLE and f'"nbytes": {said["nbytes"]}' in EXAMPLE


# ---------------------------------------------------------------- sections 5 and 6
def test_pages_precede_their_record_and_serve_one() -> None:
    """A `paged` record whose page comes later, or has served another, counts for nothing; 4,096 pages are kept."""
    text = encode(opened())
    page = encode(Page(data=text.decode()))

    def paged(offset: int) -> Paged:
        ref = PageRef(offset=offset, sha256=sha256(page))
        return Paged(federation=FEDERATION, seq=0, prev="", kind="opened", pages=(ref,), sha256=sha256(text))

    def links(*records: Any) -> list[bool]:
        topic = Topic()
        for record in records:
            topic.append(record)
        return [entry.link is not None for entry in topic.reader().sync()]

    assert links(paged(1), page) == [False, False]
    assert links(page, paged(0)) == [False, True]
    other = Page(data="x")
    assert links(page, *[other] * PAGES_HELD, paged(0))[-1] is False
    assert links(page, *[other] * (PAGES_HELD - 1), paged(0))[-1] is True
    assert "4,096" in PAGE and PAGES_HELD == 4096
    topic = Topic()
    for record in (page, paged(0), paged(0)):
        topic.append(record)
    assert topic.reader().sync()[2].problem == "a page that the record names is not there or has another hash"


@pytest.mark.parametrize("exponent", [0.1, 0.3, 0.5, 0.7, 1.1, 3.3])
def test_the_power_is_rounded_before_it_is_multiplied_and_its_exponent_is_exact(exponent: float) -> None:
    """`coefficient` as the page has it; with the exponent's decimal text, or multiplied before rounding, it differs."""
    head = Topic([(encode(opened(mode="buffered", staleness_exponent=exponent)), 0)]).head()
    policy = Policy.of(head)
    exact = Context(prec=60, rounding=ROUND_HALF_EVEN)
    for staleness in range(12):
        power = exact.exp(-exact.multiply(exact.ln(Decimal(1 + staleness)), Decimal(exponent)))
        assert policy.mode.discount(staleness) == float(power)
    item = Accepted(
        client="c", offset=0, sha256="", record="", nbytes=0, base=head.base, number=0, examples=3, coefficient=0.0,
        received_ms=0,
    )  # fmt: skip
    assert policy.strategy.weigh(policy.claims(head, [item]), None)[0].coefficient == 3.0


def test_the_page_s_own_figures_of_a_coefficient() -> None:
    """Three examples, one version behind, exponent 0.5; and an exponent of 0.1."""
    assert repr(3 * polynomial(1, 0.5)) in PAGE and repr(polynomial(12, 0.1)) in PAGE
    exact = Context(prec=60, rounding=ROUND_HALF_EVEN)
    unrounded = float(3 * exact.exp(-exact.multiply(exact.ln(Decimal(2)), Decimal("0.5"))))
    assert unrounded != 3 * polynomial(1, 0.5) and repr(unrounded) in PAGE


def test_sums_start_at_plus_zero() -> None:
    """So a mean of negative zeros is +0, whatever the base."""
    minus = [np.full(3, -0.0, np.float32)]
    specs = exchange_of(specs_of([("t", minus[0])]))
    counted = [Counted(Claim("c", 2), reader(minus))] * 2
    (mean,) = reduce(make("fedavg", {}), specs, minus, counted, {}, 1).tensors
    assert not np.signbit(mean).any()


def test_a_selection_outlives_what_changes_no_model() -> None:
    """`changed`, `stopped` and `resumed` keep whom the open round asks; the round's record ends it."""
    world = World.of(min_clients=3, quorum=2, selection={"name": "uniform", "params": {"count": 2}}, rounds=3)
    world.join("a", "b", "c")
    settled(world)
    chosen = world.control.head().selected
    assert chosen is not None
    for action, more in (("deadline", {"deadline_ms": 90_000}), ("stop", {}), ("resume", {})):
        order(world, action, **more)
        settled(world)
        assert world.control.head().selected == chosen
    world.pass_time(10)
    for client in chosen.clients:
        world.update(client)
    settled(world)
    assert newest(world).round == 1 and world.control.head().selected != chosen


# ---------------------------------------------------------------- sections 2, 7 and 8
def test_a_member_that_left_still_counts_and_is_awaited_again_when_it_joins_again() -> None:
    """Section 7, 2: the same incarnation says `joined` once more. Until a commit forgets it, its updates count."""
    world = World.of(min_clients=2, quorum=1, rounds=3)
    world.join("a", "b")
    world.send(Left(client="a", incarnation="1"))
    driver = settled(world)
    assert driver.machine.round.roster.awaited == {"b"}
    world.update("a")
    assert [entry.client for entry, _ in settled(world).machine.round.accepted] == ["a"]
    world.update("b")
    settled(world)
    assert [member.client for member in newest(world).snapshot.members] == ["b"]
    world.update("a")
    assert settled(world).machine.round.refusals.named[-1].reason == "unknown_client"
    world.send(joined("a"))
    assert settled(world).machine.round.roster.awaited == {"a", "b"}


def test_a_refusal_is_told_by_offset_in_the_round_and_before_it_in_progress() -> None:
    """Section 8: `refused` of the round's record names the record's own offset; nobody answers a client."""
    world = World.of(min_clients=1, rounds=2)
    world.join("a")
    refused = world.update("a", examples=6)
    world.update("a")
    settled(world)
    record = newest(world)
    assert [(entry.client, entry.offset, entry.reason) for entry in record.refused] == [("a", refused, "examples")]
    assert isinstance(record, Round) and record.accepted[0].offset == refused + 1


class WriteOnly(MemoryLog):
    """A broker whose ACLs let a client write to the aggregator topic, and no more."""

    def cursor(self, topic: str, partition: int, start: int) -> Any:
        """Not this topic."""
        assert "aggregator" not in topic
        return super().cursor(topic, partition, start)

    def read(self, topic: str, partition: int, start: int, end: int) -> Any:
        """Nor this way."""
        assert "aggregator" not in topic
        return super().read(topic, partition, start, end)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Nor its offsets."""
        assert "aggregator" not in topic
        return super().bounds(topic, partition)


def test_a_client_needs_no_right_to_read_the_aggregator_topic() -> None:
    """All that ours says there is written, and nothing read back."""
    log = WriteOnly(SystemClock())
    log.create_topics(federation_topics(FEDERATION))
    state = ("training", 0, 0.5)
    sink = FederatedKafkaMLAggregationSink(log, FEDERATION, "a", "1", every=PATIENCE, state=lambda: state)
    sink.joined(Presence(5))
    sink.beat(*state)
    sink.update(Base(seq=0, version=0), 0, exchange(opened()), [np.zeros(4, np.float32)], UpdateClaim(5, Report()))
    sink.left()


def test_nothing_proves_who_wrote() -> None:
    """Whoever may write speaks for any client: the roster takes a record's word for its client."""
    roster = Roster((), Rules(), None)
    roster.join(joined("somebody-else"), 0, 0)
    assert roster.speaks("somebody-else", "1") and "nothing proves who wrote a record" in PAGE
