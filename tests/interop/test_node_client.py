"""A client in another language, written from docs/protocol.md: it reads the vectors alike, and takes part in runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.errors import DecodeError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import verify
from mainstem.protocol import signing, topics
from mainstem.protocol.control import ControlReader, ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    ClientFailed,
    Command,
    EncodingChoice,
    InputSpec,
    Joined,
    Left,
    Rules,
    Selected,
    Selection,
    StrategyChoice,
    Training,
    Update,
    decode_client,
    decode_control,
)
from mainstem.protocol.packing import has_payload, text_of
from mainstem.protocol.weights import Tensor
from tests.interop.conftest import Node
from tests.kafka.test_training_job import aggregator, job
from tests.support import sent
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.patience import PATIENCE, until

VECTORS = Path(__file__).parents[1] / "vectors"
INPUTS, CLASSES = 8, 3
CLIENT = ("joined", "heartbeat", "update", "client_failed", "left", "tick")


def vector(name: str) -> Any:
    """A published file."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def told(node: Node, *arguments: str, given: str = "") -> Any:
    """What the vectors' program prints."""
    with node("vectors.js", *arguments) as process:
        output, errors = process.communicate(given, timeout=PATIENCE)
        assert process.returncode == 0, errors
        return json.loads(output)


# ---------------------------------------------------------------- the vectors
@pytest.fixture(scope="module")
def read(node: Node) -> Any:
    """What the client makes of the vectors."""
    return told(node, str(VECTORS))


def test_records_are_read_alike(read: Any) -> None:
    """Every record of the topics that a client knows, with the same fields and defaults; each has the same hash."""
    for published, found in zip(vector("records.json"), read["records"], strict=True):
        assert found["sha256"] == published["sha256"]
        if published["type"] in ("announcement", "audited"):
            assert found["record"] is None  # of topics that it does not read
            continue
        decode = decode_client if published["type"] in CLIENT else decode_control
        assert decode(json.dumps(found["record"]).encode()) == decode(published["value"].encode())


def test_refusals_are_the_same(read: Any) -> None:
    """What every reader refuses; the first is good."""
    assert read["refused"] == [bool(each["why"]) for each in vector("refused.json")]


def test_the_chain_is_the_same(read: Any) -> None:
    """Which of the records take their place, by which hash, and what the head then says."""
    reader = ControlReader("ddy6heod")
    expected = []
    for offset, each in enumerate(vector("records.json")):
        if reader.feed(offset, 0, each["value"].encode()).link is None:
            continue
        head = reader.chain.head
        assert head is not None
        expected.append(
            {
                "offset": offset, "seq": head.link.record.seq, "hash": head.link.hash, "phase": head.state,
                "base": msgspec.to_builtins(head.base), "round": head.round,
                "asked": None if head.asked is None else list(head.asked),
            }
        )  # fmt: skip
    assert read["links"] == expected and len(expected) == 10


def test_tensors_and_digests_are_the_same(read: Any) -> None:
    """Chunks are put together, cut into the tensors' bytes, and hashed; so is a packed update."""
    from tests.vectors.generate import tensors

    assert read["tensors"] == [tensor.tobytes().hex() for tensor in tensors().values()]
    packed = json.loads(vector("weights.json")["packed"]["headers"]["manifest"])
    assert read["packed"] == packed["weights"]["sha256"]


def test_signatures_are_the_same_bytes(read: Any) -> None:
    """Ed25519 is deterministic: the same key gives the same header; and no other header holds."""
    published = vector("signatures.json")
    assert read["public"] == published["public_key"]
    assert read["header"] == published["headers"][0]["signature_base64"]
    assert read["holds"] == [not each["why"] for each in published["headers"]]


def mutants(record: Mapping[str, Any]) -> Iterator[bytes]:
    """A record with each of its values, however deep, missing or something else."""

    def changed(value: Any) -> Iterator[Any]:
        yield from (None, True, -1, 1.5, 2**53 - 1, "", "x" * 129, "a\n", [], {}, [None], {"x": 1}, 1e300)
        if isinstance(value, dict):
            for name, inner in value.items():
                yield {n: v for n, v in value.items() if n != name}
                yield from ({**value, name: each} for each in changed(inner))
        elif isinstance(value, list) and value:
            yield [*value, value[0]]
            yield from ([each, *value[1:]] for each in changed(value[0]))

    for each in changed(record):
        yield json.dumps(each).encode()


def test_a_record_that_is_not_quite_right_is_judged_alike(node: Node) -> None:
    """Thousands of records with one thing changed: both readers refuse the same ones, and read the others alike."""
    values = [value for each in vector("records.json") if each["type"] not in ("announcement", "audited")
              for value in mutants(json.loads(each["value"]))]  # fmt: skip
    lines = "".join(base64.b64encode(value).decode() + "\n" for value in values)
    differ = []
    for value, found in zip(values, told(node, "-", given=lines), strict=True):
        ours = decoded(value)
        theirs = None if found is None else decoded(json.dumps(found).encode())
        if ours != theirs:
            differ.append(value)
    assert not differ, f"{len(differ)} of {len(values)}: {differ[:3]}"
    assert len(values) > 4000


def decoded(value: bytes) -> Any:
    """The record of either topic; None where it counts for nothing, or is of a type that nobody knows yet."""
    for decode in (decode_control, decode_client):
        try:
            found = decode(value)
        except DecodeError:
            continue
        if type(found).__name__ != "Unknown":
            return found
    return None


# ---------------------------------------------------------------- runs
def dense(units: int, activation: str, name: str = "dense") -> dict[str, Any]:
    """A layer as Keras writes it, as far as a reader needs it."""
    config = {"name": name, "units": units, "activation": activation, "use_bias": True}
    return {"class_name": "Dense", "config": config}


def opened(log: KafkaLog, rules: Rules, hidden: int = 16, epochs: int = 2, **more: Any) -> str:
    """Open a federation of a small perceptron; its id."""
    random = np.random.default_rng(4)
    shapes: dict[str, tuple[int, ...]] = {
        "dense/kernel": (INPUTS, hidden), "dense/bias": (hidden,),
        "out/kernel": (hidden, CLASSES), "out/bias": (CLASSES,),
    }  # fmt: skip
    tensors = [random.normal(0, 0.3, shape).astype(np.float32) for shape in shapes.values()]
    layers = [{"class_name": "InputLayer", "config": {}}, dense(hidden, "relu"), dense(CLASSES, "softmax")]
    training = Training(optimizer="sgd", learning_rate=0.1, batch_size=16, epochs=epochs, seed=5)
    return open_federation(
        log, tensors, rules, names=list(shapes), training=training,
        architecture=json.dumps({"class_name": "Sequential", "config": {"layers": layers}}),
        input=InputSpec(shape=(INPUTS,), label_shape=(CLASSES,), classes=CLASSES), **more,
    )  # fmt: skip


def stream(log: KafkaLog, count: int = 120) -> list[str]:
    """A stream of separable classes; the arguments that name it."""
    topic = f"site-{topics.new_federation_id()}"
    log.create_topics([topics.stream_spec(topic)])
    random = np.random.default_rng(7)
    labels = random.integers(0, CLASSES, count)
    x = (np.eye(CLASSES, INPUTS)[labels] * 2 + random.normal(0, 0.3, (count, INPUTS))).astype("<f4")
    keys = np.eye(CLASSES, dtype="<f4")[labels]
    log.append(topic, [Outgoing(a.tobytes(), key=b.tobytes()) for a, b in zip(x, keys, strict=True)])
    config = {"data_type": "float32", "data_reshape": "8", "label_type": "float32", "label_reshape": "3"}
    return ["--stream", f"{topic}:0:0:{count}", "--input-config", json.dumps(config)]


def light(log: KafkaLog, federation: str, count: int = 2) -> list[LightClient]:
    """Clients of Python that move every number a little."""

    def train(tensors: Sequence[Tensor], base: int) -> list[Tensor]:
        return [tensor * np.float32(0.99) for tensor in tensors]

    return [LightClient(log, federation, f"py-{n}", train, examples=10) for n in range(count)]


@contextmanager
def running(clients: Sequence[LightClient]) -> Iterator[None]:
    """Each of them in a thread."""
    leave = threading.Event()
    threads = [threading.Thread(target=client.run, args=(leave,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()
        for thread in threads:
            thread.join()


def arguments(kafka: EmbeddedKafka, federation: str, *more: str) -> list[str]:
    """The client's, as `js`."""
    return ["main.js", "--federation", federation, "--bootstrap", kafka.bootstrap_servers, "--client", "js", *more]


def ended(process: subprocess.Popen[str]) -> str:
    """What a process that has ended well said."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return errors


def said(log: KafkaLog, federation: str, kind: type, client: str = "js") -> list[Any]:
    """What a client has said of one kind."""
    ours = (record for _, record in sent.said(log, federation) if isinstance(record, kind))
    return [record for record in ours if getattr(record, "client", None) == client]


def head_of(log: KafkaLog, federation: str) -> Any:
    """The head of the run."""
    control = ControlTopic(log, federation)
    control.sync()
    control.close()
    return control.head


def proved(log: KafkaLog, federation: str, versions: int) -> None:
    """Every version follows from the updates in the log."""
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * (versions + 1)


@pytest.mark.kafka
@pytest.mark.parametrize("packed", ["900000", "0"])
def test_a_run_of_both_languages(kafka: EmbeddedKafka, log: KafkaLog, node: Node, tmp_path: Path, packed: str) -> None:
    """Two clients of Python and one of Node: every round has all three, each update signed, every version is proved."""
    key = signing.SigningKey.generate()
    (tmp_path / "key").write_bytes(key.pem())
    federation = opened(log, Rules(rounds=4, min_clients=3), hidden=1024, aggregator_partitions=3)
    more = ["--key", str(tmp_path / "key"), "--packed", packed]
    with aggregator(log, federation), running(light(log, federation)):
        with node(*arguments(kafka, federation, *stream(log), *more)) as process:
            ended(process)
        until(lambda: head_of(log, federation).state == "finished")
    rounds = rounds_of(log, federation)
    assert [sorted(each.client for each in found.accepted) for found in rounds] == [["js", "py-0", "py-1"]] * 4
    assert not any(found.refused for found in rounds)
    (left,) = said(log, federation, Left)
    assert left.version == 4 and left.evaluation.examples == 12 and left.evaluation.values["accuracy"] > 0.9
    records = [record for record, each in sent.said(log, federation) if getattr(each, "client", "") == "js"]
    topic = topics.aggregator_topic(federation)
    assert all(signing.signed(each.headers, topic, text_of(each) or b"", key.public) for each in records)
    assert sum(has_payload(each.headers) for each in records) == (4 if packed != "0" else 0)
    proved(log, federation, 4)


@pytest.mark.kafka
def test_killed_and_started_again(kafka: EmbeddedKafka, log: KafkaLog, node: Node) -> None:
    """SIGKILL once its update is in the log, before the round closes: it trains the same again, which counts once."""
    federation = opened(log, Rules(rounds=3, min_clients=3))
    clients, site = light(log, federation), stream(log)
    with aggregator(log, federation):
        with node(*arguments(kafka, federation, *site)) as doomed:
            until(lambda: said(log, federation, Update), what="its first update")
            doomed.kill()
        with node(*arguments(kafka, federation, *site)) as process:
            until(lambda: len(said(log, federation, Update)) == 2, what="the same update again")
            with running(clients):
                ended(process)
                until(lambda: head_of(log, federation).state == "finished")
    one, other = said(log, federation, Joined)
    assert one.incarnation != other.incarnation
    first, again, *_ = said(log, federation, Update)
    assert first.weights.sha256 == again.weights.sha256  # the seed, the data and the base are the same
    rounds = rounds_of(log, federation)
    assert [sorted(each.client for each in found.accepted) for found in rounds] == [["js", "py-0", "py-1"]] * 3
    assert [(each.client, each.reason) for found in rounds for each in found.refused] == [("js", "duplicate")]
    proved(log, federation, 3)


@pytest.mark.kafka
def test_stopped_resumed_and_rolled_back(kafka: EmbeddedKafka, log: KafkaLog, node: Node) -> None:
    """It leaves a run that is stopped, joins it late when it goes on, and trains again from where that goes back to."""
    federation = opened(log, Rules(rounds=6, min_clients=1, deadline_ms=1000, below_quorum="extend"), epochs=200)
    control, site = ControlTopic(log, federation), stream(log)

    def order(action: str, **more: Any) -> None:
        control.append(Command(federation=federation, action=action, id=action, **more))

    with aggregator(log, federation), node(*arguments(kafka, federation, *site)) as process:
        until(lambda: head_of(log, federation).round >= 1)
        order("stop")
        assert "stopped" in ended(process)
    order("resume")
    with aggregator(log, federation):
        until(lambda: head_of(log, federation).state == "open")
        with node(*arguments(kafka, federation, *site)) as process:
            until(lambda: head_of(log, federation).round >= 2)
            order("rollback", version=1)
            ended(process)
        until(lambda: head_of(log, federation).state == "finished")
    control.close()
    assert head_of(log, federation).round == 6
    assert len({record.incarnation for record in said(log, federation, Joined)}) == 2
    assert all(proof.state == "proved" for proof in verify(log, federation))


@pytest.mark.kafka
def test_only_who_is_asked_answers(kafka: EmbeddedKafka, log: KafkaLog, node: Node) -> None:
    """A round that asks one of three gets its update from that one alone."""
    rules = Rules(rounds=6, min_clients=3, selection=Selection(name="uniform", params={"count": 1}))
    federation = opened(log, rules)
    with aggregator(log, federation), running(light(log, federation)):
        with node(*arguments(kafka, federation, *stream(log))) as process:
            ended(process)
        until(lambda: head_of(log, federation).state == "finished")
    control = ControlTopic(log, federation)
    asked = [entry.record.clients for entry in control.sync() if entry.link and isinstance(entry.record, Selected)]
    control.close()
    rounds = rounds_of(log, federation)
    assert [tuple(each.client for each in found.accepted) for found in rounds] == [tuple(each) for each in asked]
    assert not any(found.refused for found in rounds)
    assert len(said(log, federation, Update)) == sum("js" in each for each in asked)
    proved(log, federation, 6)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("rules", "strategy", "why"),
    [
        (Rules(encoding_up=EncodingChoice(name="int8")), "fedavg", "its encoding_up is int8"),
        (Rules(), "fedprox", "its strategy is fedprox"),
    ],
)
def test_what_it_does_not_speak_it_refuses(
    kafka: EmbeddedKafka, log: KafkaLog, node: Node, rules: Rules, strategy: str, why: str
) -> None:
    """It ends with a sentence, and the federation is told, which it never joins."""
    federation = opened(log, rules, strategy=StrategyChoice(name=strategy))
    with node(*arguments(kafka, federation, *stream(log))) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and why in errors
    assert [why in record.detail for record in said(log, federation, ClientFailed)] == [True]
    assert not said(log, federation, Joined)


def test_its_help(node: Node) -> None:
    """`--help` needs no Kafka, and a wrong option is said in a sentence."""
    with node("main.js", "--help") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and output.startswith("usage: node main.js")
    with node("main.js", "--federation", "x") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and errors == "--bootstrap is missing; see --help\n"


@pytest.mark.kafka
@pytest.mark.training
def test_real_digits_beside_python_jobs(kafka: EmbeddedKafka, log: KafkaLog, node: Node) -> None:
    """Two training Jobs with Keras and one Node client, each on its own announced stream, learn digits together."""
    streams = digits(kafka)
    random = np.random.default_rng(1)
    tensors: list[Tensor] = []
    names = ["hidden/kernel", "hidden/bias", "classes/kernel", "classes/bias"]
    for inputs, units in pairwise([784, 32, 10]):
        tensors += [random.normal(0, inputs**-0.5, (inputs, units)).astype(np.float32), np.zeros(units, np.float32)]
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 784], "name": "input"}},
        {"module": "keras.layers", **dense(32, "relu", name="hidden")},
        {"module": "keras.layers", "class_name": "Dropout", "config": {"rate": 0.1, "name": "dropout"}},
        {"module": "keras.layers", **dense(10, "softmax", name="classes")},
    ]
    architecture = {"module": "keras", "class_name": "Sequential", "config": {"name": "digits", "layers": layers}}
    federation = open_federation(
        log, tensors, Rules(rounds=3, min_clients=3), names=names, architecture=json.dumps(architecture),
        training=Training(optimizer="adam", learning_rate=0.003, batch_size=16, epochs=4, seed=1),
        input=InputSpec(shape=(784,), label_shape=(10,), classes=10),
    )  # fmt: skip
    with aggregator(log, federation), ExitStack() as stack:
        for number, each in enumerate(streams["streams"][1:]):
            more = {"INPUT_CONFIG": json.dumps(streams["input_config"]), "TEST_RATE": str(each["test_rate"])}
            stack.enter_context(job(kafka, federation, each["topic"], f"job-{number}", **more))
        announcement = str(streams["streams"][0]["control"]["offset"])
        with node(*arguments(kafka, federation, "--announcement", announcement)) as process:
            ended(process)
        until(lambda: head_of(log, federation).state == "finished")
    rounds = rounds_of(log, federation)
    assert [sorted(each.client for each in found.accepted) for found in rounds] == [["job-0", "job-1", "js"]] * 3
    found = {client: said(log, federation, Left, client)[0].evaluation for client in ("js", "job-0", "job-1")}
    assert found["js"].examples == 50
    assert all(each.values["accuracy"] > 0.8 for each in found.values()), found
    proved(log, federation, 3)


def digits(kafka: EmbeddedKafka) -> Any:
    """Real handwritten digits for three clients, announced as anybody would."""
    options = ["--clients", "3", "--train-samples", "300", "--topic", f"digits-{topics.new_federation_id()}"]
    done = subprocess.run(
        [sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet", *options,
         "--bootstrap", kafka.bootstrap_servers],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
