"""From records to samples: matching, decoding, reading ranges and dividing."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federated_training.data.dataset import Place, lot, split, split_by_place
from federated_training.data.decoders import Decoder
from federated_training.data.stream import Stream, await_topics
from federated_training.job.config import Settings, stored_client_id
from mainstem.errors import ConfigError, DecodeError
from mainstem.jobs.compiling import input_of
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import InputSpec
from mainstem.protocol.topics import stream_spec
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog

CONFIG = {"type": "float32", "data_type": "float32", "data_reshape": "4", "label_type": "float32", "label_reshape": "3"}
SPARSE = "sparse_categorical_crossentropy"
ONE_HOT = input_of((4,), "float32", (3,), "categorical_crossentropy")


def spec_of(topic: str = "stream", config: dict[str, str] | None = None, **more: Any) -> JobSpec:
    """A Job's spec for the stream."""
    return JobSpec(
        cloud_bootstrap="k:1", data_bootstrap="k:1", data_topic=topic, input_format="RAW",
        input_config=json.dumps(CONFIG | (config or {})), federation="abcdefgh", client_id="c1", **more,
    )  # fmt: skip


def sample(number: int) -> Outgoing:
    """Record `number`: four equal values, label number modulo 3."""
    return Outgoing(np.full(4, number, "<f4").tobytes(), key=np.eye(3, dtype="<f4")[number % 3].tobytes())


def stream_of(records: list[Outgoing], partitions: int = 1) -> MemoryLog:
    """A log with one topic that holds these records."""
    log = MemoryLog(SystemClock())
    log.create_topics([stream_spec("stream", partitions)])
    log.append("stream", records)
    return log


def read(log: MemoryLog, spec: JobSpec, **more: Any) -> tuple[Any, Any]:
    """All samples of the stream."""
    decoder = Decoder(spec, ONE_HOT)
    return Stream(log, spec, decoder).open(patience=0.0, **more)


@pytest.mark.parametrize(
    ("config", "model", "says"),
    [
        ({"data_reshape": "28 28"}, InputSpec(shape=(784,)), "data_reshape is [28, 28]"),
        (
            {"data_type": "float32", "data_reshape": "784"},
            InputSpec(shape=(784,), dtype="int32"),
            "data_type is float32",
        ),
        ({"label_reshape": "7"}, InputSpec(shape=(4,)), "label_reshape holds 7 values"),
        ({"label_type": None}, InputSpec(shape=(4,)), "no label_type"),
    ],
)
def test_a_stream_that_does_not_fit_the_model_is_refused(config: dict[str, Any], model: InputSpec, says: str) -> None:
    """Shape, kind of number and labels are compared before anything is read."""
    with pytest.raises(ConfigError) as caught:
        Decoder(spec_of(config=config), msgspec.structs.replace(ONE_HOT, shape=model.shape, dtype=model.dtype))
    assert says in str(caught.value)


def test_other_widths_of_numbers_are_cast() -> None:
    """float64 and uint8 data train a float32 model."""
    for name in ("float64", "uint8", "int64"):
        spec = spec_of(config={"data_type": name})
        value = np.arange(4).astype(name).tobytes()
        x, _, refused = Decoder(spec, ONE_HOT).decode([(sample(1).key, value)])
        assert x.dtype == np.float32 and x.tolist() == [[0, 1, 2, 3]] and refused == []


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", {"class_name": "SparseCategoricalCrossentropy"}])
def test_labels_become_what_the_loss_takes(loss: object) -> None:
    """One-hot labels become indices for sparse losses, indices become one-hot for the others."""
    sparse = Decoder(spec_of(), input_of((4,), "float32", (3,), loss))
    _, y, _ = sparse.decode([(sample(2).key, sample(2).value)])  # type: ignore[list-item]
    assert y.tolist() == [2] and y.dtype == np.int32
    spec = spec_of(config={"label_type": "int32", "label_reshape": ""})
    indexed = Decoder(spec, ONE_HOT)
    _, y, refused = indexed.decode([(np.int32(n).tobytes(), sample(0).value) for n in (1, 3, -1)])  # type: ignore[misc]
    assert y.tolist() == [[0, 1, 0]] and [refusal.position for refusal in refused] == [1, 2]


STEPS = [[0, 2, 1, 1, 0], [2, 2, 2, 0, 1]]


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("hot", [False, True])
def test_each_step_of_an_output_has_its_label(loss: str, *, hot: bool) -> None:
    """Class numbers or one-hot rows for each of five steps become what the loss compares (5, 3) with."""
    labels: Any = np.eye(3, dtype="f4")[STEPS] if hot else np.array(STEPS, "f4")
    spec = spec_of(config={"label_reshape": "5 3" if hot else "5"})
    decoder = Decoder(spec, input_of((4,), "float32", (5, 3), loss))
    _, y, refused = decoder.decode([(label.tobytes(), sample(0).value) for label in labels])  # type: ignore[misc]
    assert refused == []
    assert y.tolist() == (STEPS if loss.startswith("sparse") else np.eye(3)[STEPS].tolist())
    assert y.dtype == (np.int32 if loss.startswith("sparse") else np.float32)


def test_a_step_s_label_that_is_no_class_is_left_out_and_named() -> None:
    """Neither the last class in the place of -1, nor an error that names no record."""
    decoder = Decoder(spec_of(config={"label_reshape": "5"}), input_of((4,), "float32", (5, 3), SPARSE))
    labels = [[0, 1, 2, 0, 1], [0, 3, 0, 0, 0], [0, 0, -1, 0, 0], [0.5, 0, 0, 0, 0]]
    keys = [np.array(label, "f4").tobytes() for label in labels]
    x, y, refused = decoder.decode([(key, sample(0).value) for key in keys])  # type: ignore[misc]
    assert len(x) == len(y) == 1
    assert refused[0].reason == "the label is 3 at position 1; the model's classes are 0 to 2"
    assert [refusal.position for refusal in refused] == [1, 2, 3]


def test_labels_of_a_binary_output_may_be_one_hot() -> None:
    """Two values for one output: the second one's share."""
    decoder = Decoder(spec_of(config={"label_reshape": "2"}), input_of((4,), "float32", (1,), "bce"))
    keys = [np.array(label, "f4").tobytes() for label in ([1, 0], [0, 1])]
    _, y, refused = decoder.decode([(key, sample(0).value) for key in keys])  # type: ignore[misc]
    assert y.tolist() == [[0], [1]] and refused == []


def test_regression_takes_any_label_of_the_output_s_size() -> None:
    """Losses about numbers check the size alone."""
    decoder = Decoder(spec_of(config={"label_reshape": ""}), input_of((4,), "float32", (1,), "mse"))
    _, y, refused = decoder.decode([(np.float32(-7.5).tobytes(), sample(0).value)])  # type: ignore[list-item]
    assert y.tolist() == [[-7.5]] and refused == []


def test_exact_ranges_are_read_exactly() -> None:
    """`t:p:start:end` takes these offsets and no others."""
    log = stream_of([sample(n) for n in range(10)])
    x, _ = read(log, spec_of("stream:0:2:5,stream:0:7:8"))
    assert x[:, 0].tolist() == [2, 3, 4, 7]


def test_ranges_beyond_the_partition_are_refused() -> None:
    """Offsets and partitions that are not there are named."""
    log = stream_of([sample(n) for n in range(10)])
    with pytest.raises(ConfigError, match="holds offsets 0 to 10 only"):
        read(log, spec_of("stream:0:2:50"))
    with pytest.raises(ConfigError, match="has 1 partitions"):
        await_topics(log, spec_of("stream:4:2:50"), 0.0)
    with pytest.raises(ConfigError, match="does not exist"):
        await_topics(log, spec_of("elsewhere"), 0.0)


def test_a_bare_name_with_a_total_takes_the_first_records() -> None:
    """TOTAL_MSG=N takes the first N in time, over all partitions."""
    records = [sample(n) for n in range(6)]
    log = stream_of([])
    log.append("stream", records)
    x, _ = read(log, spec_of(total_msg=4))
    assert x[:, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="has 6 records; 7 are needed"):
        read(log, spec_of(total_msg=7))


def test_a_bare_name_alone_takes_what_is_there_at_the_start() -> None:
    """Without TOTAL_MSG the stream ends where it ended at the start."""
    log = stream_of([sample(n) for n in range(3)], partitions=2)
    log.append("stream", [Outgoing(sample(9).value, key=sample(9).key, partition=1)])
    spec = spec_of()
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    assert stream.open()[0][:, 0].tolist() == [0, 1, 2, 9]
    log.append("stream", [sample(5)])
    assert stream.refresh() is None


def test_an_incremental_stream_grows() -> None:
    """Only a stream announced as incremental is read again."""
    log = stream_of([sample(n) for n in range(3)])
    spec = spec_of(incremental=True)
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    assert len(stream.open(at_least=3)[0]) == 3
    assert stream.refresh() is None
    log.append("stream", [sample(5)])
    grown = stream.refresh()
    assert grown is not None and grown[0][:, 0].tolist() == [0, 1, 2, 5]


def test_exact_ranges_do_not_grow_whatever_is_announced() -> None:
    """`incremental` beside exact ranges, as OnlineFederatedRawSink announces them: read once, to their end."""
    log = stream_of([sample(n) for n in range(10)])
    spec = spec_of("stream:0:2:5", incremental=True, total_msg=3)
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    assert stream.open()[0][:, 0].tolist() == [2, 3, 4]
    log.append("stream", [sample(5)])
    assert stream.refresh() is None and stream.records == 3


def test_a_topic_made_anew_is_another_stream() -> None:
    """At the start by the id that was announced, later by the one that was there at first."""
    log = stream_of([sample(n) for n in range(3)])
    growing = spec_of(incremental=True)
    stream = Stream(log, growing, Decoder(growing, ONE_HOT))
    stream.open()
    known = log.identify("stream")
    assert known is not None
    spec = spec_of("stream:0:0:3", topic_ids={"stream": known.id})
    assert len(read(log, spec)[0]) == 3
    log.delete_topics(["stream"])
    log.create_topics([stream_spec("stream")])
    log.append("stream", [sample(n) for n in range(9)])
    with pytest.raises(ConfigError, match="made again"):
        read(log, spec)
    with pytest.raises(ConfigError, match="made again"):
        stream.refresh()


def test_records_that_retention_took_unread_are_passed_over() -> None:
    """A stream that grows goes on behind them."""
    log = stream_of([sample(n) for n in range(3)])
    spec = spec_of(incremental=True)
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    stream.open()
    log.append("stream", [sample(n) for n in range(3, 9)])
    log.delete_records("stream", 0, 7)
    grown = stream.refresh()
    assert grown is not None and grown[0][:, 0].tolist() == [0, 1, 2, 7, 8]


def test_bad_records_are_counted_and_left_out() -> None:
    """Wrong sizes, labels out of range, NaN, tombstones and missing keys do not stop the rest."""
    bad = [
        Outgoing(b"short", key=sample(0).key),
        Outgoing(sample(0).value, key=b"no"),
        Outgoing(sample(0).value, key=np.array([0, 7, 0], "<f4").tobytes()),
        Outgoing(np.full(4, np.nan, "<f4").tobytes(), key=sample(0).key),
        Outgoing(None, key=sample(0).key),
        Outgoing(sample(0).value),
    ]
    log = stream_of([sample(0), *bad, sample(1)])
    spec = spec_of()
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    assert stream.open()[0][:, 0].tolist() == [0, 1]
    assert (stream.records, stream.left_out.count) == (8, 6)
    with pytest.raises(DecodeError, match="of 6 records none could be used"):
        read(stream_of(bad), spec)


def line(total: int) -> list[Place]:
    """Places in one partition."""
    return [("stream", 0, offset) for offset in range(total)]


def test_every_partition_gives_its_share_to_test() -> None:
    """Records keyed by their label stand in a partition for each class: the test part has all of them, as often."""
    log = MemoryLog(SystemClock())
    log.create_topics([stream_spec("stream", 3)])
    for number in range(300):
        out = sample(number)
        log.append("stream", [Outgoing(out.value, key=out.key, partition=number % 3)])
    spec = spec_of("stream:0:0:100,stream:1:0:100,stream:2:0:100", total_msg=300)
    stream = Stream(log, spec, Decoder(spec, ONE_HOT))
    x, y = stream.open(patience=0.0)
    parts = split(x, y, stream.places, validation_rate=0.1, test_rate=0.1, seed=3)
    assert parts.test.y.sum(axis=0).tolist() == [10, 10, 10]
    assert sorted(parts.test.x[:, 0].tolist()) == list(range(270, 300))
    assert (len(parts.training), len(parts.validation)) == (240, 30)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.sampled_from([0.05, 0.1, 0.3, 0.5]), st.randoms())
@example([1, 5, 5, 5, 15], 0.05, random.Random(0))
def test_shares_of_partitions_are_even(sizes: list[int], rate: float, chance: Any) -> None:
    """Whatever the partitions' sizes and order: so many test samples as there are to be, of each its share within one.

    Those are the last of their partition.
    """
    places = [("stream", partition, offset) for partition, size in enumerate(sizes) for offset in range(size)]
    pieces = [partition for partition, _ in enumerate(sizes)]
    chance.shuffle(pieces)
    places.sort(key=lambda place: (pieces.index(place[1]), place[2]))
    x = np.arange(len(places), dtype="float32").reshape(-1, 1)
    tests = round(len(places) * rate)
    if len(places) == tests:
        return
    parts = split(x, x, places, validation_rate=0.0, test_rate=rate, seed=0)
    chosen = [places[int(number)] for number in parts.test.x[:, 0]]
    assert len(chosen) == tests
    for partition, size in enumerate(sizes):
        offsets = sorted(offset for _, number, offset in chosen if number == partition)
        assert offsets == list(range(size - len(offsets), size)) and abs(len(offsets) - tests * size / len(places)) < 1


def test_the_last_share_is_test_and_validation_is_drawn_by_seed() -> None:
    """550 samples at 50/550 give exactly 50 test samples, the last; the validation draw repeats."""
    x, y = np.arange(550, dtype="float32").reshape(550, 1), np.zeros((550, 1), "float32")
    first = split(x, y, line(550), validation_rate=0.1, test_rate=50 / 550, seed=3)
    again = split(x, y, line(550), validation_rate=0.1, test_rate=50 / 550, seed=3)
    other = split(x, y, line(550), validation_rate=0.1, test_rate=50 / 550, seed=4)
    assert first.test.x[:, 0].tolist() == list(range(500, 550))
    assert (len(first.training), len(first.validation), len(first.held_out)) == (445, 55, 105)
    assert first.validation.x.tolist() == again.validation.x.tolist() != other.validation.x.tolist()
    assert first.sha256 == other.sha256


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=6))
def test_a_growing_stream_moves_no_sample(seed: int, growth: list[tuple[int, int]]) -> None:
    """Whatever comes behind it, in whichever partition: what is for validation or test stays so."""
    ends, places = [0] * 4, []
    parts_of: dict[tuple[str, int, int], str] = {}
    for partition, count in growth:
        places += [("t", partition, ends[partition] + n) for n in range(count)]
        ends[partition] += count
        x = np.arange(len(places), dtype="float32").reshape(-1, 1)
        try:
            parts = split_by_place(x, x, places, validation_rate=0.3, test_rate=0.2, seed=seed)
        except ConfigError:
            continue
        for name in ("training", "validation", "test"):
            for number in getattr(parts, name).x[:, 0].astype(int):
                assert parts_of.setdefault(places[number], name) == name


def test_the_rates_hold_for_many_samples() -> None:
    """Lots are spread evenly, and another seed draws others."""
    x = np.zeros((20_000, 1), "float32")
    places = [("t", 0, n) for n in range(len(x))]
    parts = split_by_place(x, x, places, validation_rate=0.3, test_rate=0.2, seed=1)
    assert len(parts.validation) == pytest.approx(6000, rel=0.05) and len(parts.test) == pytest.approx(4000, rel=0.05)
    assert lot(1, places[0]) != lot(2, places[0]) != lot(2, places[1])


@given(st.integers(1, 60), st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 2**32))
def test_dividing_loses_and_repeats_nothing(total: int, validation: float, test: float, seed: int) -> None:
    """Every sample lands in exactly one part, or the rates are refused."""
    x = np.arange(total, dtype="float32").reshape(total, 1)
    try:
        parts = split(x, x, line(total), validation_rate=validation, test_rate=test, seed=seed)
    except ConfigError:
        assert round(total * test) + round(total * validation) >= total
        return
    together = np.concatenate([parts.training.x, parts.validation.x, parts.test.x])
    assert sorted(together[:, 0].tolist()) == x[:, 0].tolist()
    assert len(parts.training) >= 1


def test_a_client_id_is_made_once_and_kept(tmp_path: Any) -> None:
    """Without FEDERATED_CLIENT_ID the same stream keeps its random id, another stream gets another."""
    first = stored_client_id(tmp_path, spec_of())
    assert stored_client_id(tmp_path, spec_of()) == first
    assert stored_client_id(tmp_path, spec_of("other")) != first


def test_settings_name_the_variable_that_is_wrong() -> None:
    """Missing and malformed variables are refused by name."""
    environ = spec_of().to_environ()
    assert Settings.from_environ(environ).client == "c1"
    for name, value in (("INPUT_CONFIG", "{"), ("VALIDATION_RATE", "2"), ("MAINSTEM_TRAINING_THREADS", "many")):
        with pytest.raises(ConfigError, match=name):
            Settings.from_environ(environ | {name: value})
    with pytest.raises(ConfigError, match="DATA_TOPIC"):
        Settings.from_environ({name: value for name, value in environ.items() if name != "DATA_TOPIC"})


def test_a_batch_of_which_no_record_can_be_read() -> None:
    """One-hot labels, and no sample left to have one: each record has its true reason."""
    decoder = Decoder(
        spec_of(config={"label_reshape": "3"}), input_of((4,), "float32", (3,), "categorical_crossentropy")
    )
    bad = np.full(4, np.nan, "f4").tobytes()
    x, y, refused = decoder.decode([(np.eye(3, dtype="f4")[0].tobytes(), bad)] * 2)
    assert (x.shape, y.shape) == ((0, 4), (0, 3))
    assert [refusal.position for refusal in refused] == [0, 1] and "is nan at position 0" in refused[0].reason
