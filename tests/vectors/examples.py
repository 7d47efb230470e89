"""One example of every record type, fixed for good: what `tests/vectors/*.json` is written from."""

from __future__ import annotations

import msgspec

from mainstem.protocol.messages import (
    Accepted,
    Announcement,
    Audited,
    Base,
    Changed,
    ChunkRun,
    ClientFailed,
    Closed,
    Command,
    Data,
    Failed,
    Failure,
    Finished,
    Heartbeat,
    InputSpec,
    Joined,
    Left,
    Member,
    MemberState,
    Metrics,
    Opened,
    Page,
    Paged,
    PageRef,
    Progress,
    Refused,
    Rejected,
    Report,
    Resumed,
    RolledBack,
    Round,
    Rules,
    Selected,
    Snapshot,
    Stopped,
    StrategyChoice,
    TensorSpec,
    Tick,
    Topics,
    Training,
    Update,
    Weights,
    encode,
    sha256,
)

FEDERATION = "ddy6heod"
SPECS = (
    TensorSpec(name="dense/kernel", dtype="float32", shape=(2, 3)),
    TensorSpec(name="dense/bias", dtype="float32", shape=(3,)),
    TensorSpec(name="steps", dtype="int64", shape=()),
)
NBYTES = 44
CARRIED = 36
"""Bytes of what updates carry: all but the integer."""
TOPICS = Topics(
    control=f"FED-{FEDERATION}-model_control_topic",
    data=f"FED-{FEDERATION}-model_data_topic",
    aggregator=f"FEDERATED_AGGREGATOR_TOPIC-{FEDERATION}",
)


def manifest(writer: str, update: str, first: int, digest: str, nbytes: int = NBYTES) -> Weights:
    """A manifest of the example model whose one chunk stands at `first`."""
    return Weights(writer=writer, update=update, chunks=(ChunkRun(0, first, 1),), nbytes=nbytes, sha256=digest)


def sequence() -> list[msgspec.Struct]:
    """Every record of a small run, in the order in which it might be written."""
    opened = Opened(
        federation=FEDERATION,
        seq=0,
        prev="",
        name="digits",
        framework="tf",
        architecture='{"class_name": "Sequential"}',
        input=InputSpec(shape=(28, 28), dtype="float32", label_shape=(10,), label_dtype="float32"),
        training=Training(batch_size=16, epochs=2, learning_rate=0.001, seed=7),
        strategy=StrategyChoice(name="fedavg", params={"weigh": "examples"}),
        rules=Rules(rounds=2, min_clients=2, quorum=2, deadline_ms=120_000),
        data=Data(min_data=100, restriction={"site": "north"}),
        topics=TOPICS,
        tensors=SPECS,
        weights=manifest("backend", "version-0", 0, "0" * 64),
    )
    base = Base(seq=0, version=0)
    report = Report(
        training=Metrics(examples=450, values={"accuracy": 0.75, "loss": 0.8125}),
        validation=Metrics(examples=50, values={"accuracy": 0.7, "loss": 0.9}),
        train_seconds=1.5,
        upload_seconds=0.25,
    )
    update = Update(
        client="site-a",
        incarnation="5f0c",
        base=base,
        number=0,
        examples=450,
        weights=manifest("site-a", "0-0-5f0c", 4, "a" * 64, CARRIED),
        report=report,
    )
    joined = Joined(
        federation=FEDERATION,
        client="site-a",
        incarnation="5f0c",
        examples=450,
        software="mainstem 0.1.0",
        note="2 of 502 records are left out: 2 because the label is 77; the model's classes are 0 to 9",
    )
    accepted = tuple(
        Accepted(
            client=client,
            offset=offset,
            sha256=digest * 64,
            record=sha256(encode(update)) if client == "site-a" else "d" * 64,
            nbytes=CARRIED,
            base=base,
            number=0,
            examples=examples,
            coefficient=float(examples),
            received_ms=1_700_000_005_000 + offset,
            report=report if client == "site-a" else Report(),
        )
        for client, offset, digest, examples in (("site-a", 5, "a", 450), ("site-b", 9, "b", 150))
    )
    members = (
        Member(
            client="site-a",
            incarnation="5f0c",
            joined=0,
            examples=450,
            last_ms=1_700_000_005_005,
            counted=0,
            seconds=1.5,
        ),
        Member(client="site-b", incarnation="77aa", joined=1, examples=150, last_ms=1_700_000_005_009, counted=0),
        Member(client="site-c", incarnation="0e1f", joined=10, examples=80, status="left", last_ms=1_700_000_005_010),
    )
    snapshot = Snapshot(position=12, time_ms=1_700_000_005_011, members=members)
    refused = Refused(client="site-b", offset=11, reason="duplicate", detail="it counts already")
    round_ = Round(
        federation=FEDERATION,
        seq=1,
        prev=sha256(encode(opened)),
        round=1,
        version=1,
        base=base,
        strategy=opened.strategy,
        accepted=accepted,
        weights=manifest("worker-1", "version-1-9c2e", 3, "c" * 64),
        snapshot=snapshot,
        closed=Closed(by="all", offset=11, time_ms=1_700_000_005_011),
        opened_ms=1_700_000_000_000,
        writer="worker-1",
        refused=(refused,),
        refused_more={"malformed": 3},
        evaluation=Metrics(examples=600, values={"accuracy": 0.5}),
    )

    def follow(kind: type[msgspec.Struct], before: msgspec.Struct, **fields: object) -> msgspec.Struct:
        seq = before.seq + 1  # type: ignore[attr-defined]
        return kind(federation=FEDERATION, seq=seq, prev=sha256(encode(before)), **fields)

    stopped = follow(Stopped, round_, command=3)
    resumed = follow(Resumed, stopped, command=6)
    changed = follow(Changed, resumed, command=8, rules=msgspec.structs.replace(opened.rules, deadline_ms=300_000))
    rolled_back = follow(RolledBack, changed, command=10, version=0, weights=opened.weights, snapshot=snapshot)
    selected = follow(Selected, rolled_back, round=1, clients=("site-a", "site-b"), quorum=2)
    failed = follow(Failed, selected, detail="it waited 3600 s with 1 of 2 updates; missing: site-b")
    resumed_again = follow(Resumed, failed, command=14)
    evaluation = Metrics(examples=50, values={"accuracy": 0.92})
    finished = follow(
        Finished,
        resumed_again,
        version=0,
        sha256=opened.weights.sha256,
        evaluation=evaluation,
        evaluations={"site-a": evaluation},
    )
    page = Page(data=encode(finished).decode())
    paged = Paged(
        federation=FEDERATION,
        seq=finished.seq,  # type: ignore[attr-defined]
        prev=finished.prev,  # type: ignore[attr-defined]
        kind="finished",
        pages=(PageRef(offset=16, sha256=sha256(encode(page))),),
        sha256=sha256(encode(finished)),
    )
    progress = Progress(
        federation=FEDERATION,
        phase="open",
        round=1,
        needed=2,
        deadline_ms=1_700_000_120_000,
        members=(
            MemberState(client="site-a", state="accepted", last_ms=1_700_000_000_000, examples=450),
            MemberState(client="site-b", state="training", awaited=True, last_ms=1_700_000_000_000, examples=150),
        ),
        refused=(refused,),
        refused_counts={"duplicate": 1},
        failures=(Failure(client="site-c", detail="DATA_TOPIC has 5 records; the federation asks for at least 100"),),
    )
    announcement = Announcement(
        federation=FEDERATION,
        name="digits",
        revision=1,
        framework="tf",
        input=opened.input,
        data=opened.data,
        min_clients=2,
        max_clients=1000,
        topics=TOPICS,
    )
    return [
        announcement,
        opened,
        joined,
        Heartbeat(client="site-a", incarnation="5f0c", phase="training", base=0, progress=0.5),
        update,
        Tick(writer="worker-1", seq=0),
        ClientFailed(client="site-c", incarnation="0e1f", detail="record 17 has 3135 bytes, 3136 are needed"),
        Left(client="site-a", incarnation="5f0c", version=1, evaluation=evaluation),
        round_,
        Command(federation=FEDERATION, action="stop", id="4b1d", by="alice"),
        Command(federation=FEDERATION, action="remove", id="9c2e", by="alice", client="site-b"),
        stopped,
        Rejected(federation=FEDERATION, command=4, detail="the run is stopped already"),
        resumed,
        changed,
        rolled_back,
        selected,
        failed,
        resumed_again,
        finished,
        page,
        paged,
        progress,
        Audited(
            id="5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c",
            at_ms=1_700_000_000_000,
            who="alice",
            by="token",
            token="#12 nightly job",
            action="deployment.stop",
            object=FEDERATION,
            name="digits",
            address="192.0.2.7",
        ),
    ]
