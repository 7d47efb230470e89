"""The injection scripts against the real broker: what arrives, what is announced, and how they fail."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inject_scripts import inject_dummy_training_data as dummy
from inject_scripts import inject_files
from mainstem.errors import LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.protocol.topics import stream_spec
from tests.support.patience import PATIENCE
from tests.support.site import Site

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(kafka: EmbeddedKafka) -> Site:
    """A fresh site."""
    return Site(kafka)


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON object on stdout: all that is there."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_one_client_as_in_the_seed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """500 + 50 digits of 3,136 + 40 bytes, announced by test_rate, and told exactly as JSON."""
    assert dummy.main([*site.options, "--json", "--quiet", "--restriction", '{"set": "digits"}']) == 0
    told = summary(capsys)
    ((announcement, batch),) = site.announced()
    assert announcement.topic == f"{site.topic}:0:0:550" == told["streams"][0]["topic"]
    assert announcement.total_msg == 550 and round(announcement.test_rate * 550) == 50
    assert announcement.restrictions == {"set": "digits"} and announcement.federation is None
    assert announcement.input_config == {
        "data_type": "float32",
        "data_reshape": "784",
        "label_type": "float32",
        "label_reshape": "10",
    }
    assert batch.x.shape == (550, 784) and batch.x.min() == 0 and batch.x.max() == 1 and not batch.refused
    assert batch.y is not None and batch.y.shape == (550, 10) and (batch.y.sum(axis=1) == 1).all()
    assert told["streams"][0]["control"] == {"topic": site.control, "partition": 0, "offset": 0}
    assert told["streams"][0]["classes"] == batch.y.sum(axis=0).astype(int).tolist()
    assert (told["streams"][0]["train"], told["streams"][0]["test"]) == (500, 50)


@pytest.mark.parametrize("fmt", ["RAW", "AVRO", "JSON"])
def test_the_seed_decides_the_samples_in_every_format(site: Site, fmt: str) -> None:
    """Three clients in one topic have disjoint ranges; the same seed gives the same samples in any format."""
    arguments = [*site.options, "--quiet", "--clients", "3", "--train-samples", "20", "--test-samples", "5"]
    assert dummy.main([*arguments, "--seed", "11", "--format", fmt]) == 0
    assert dummy.main([*arguments, "--seed", "11"]) == 0
    assert dummy.main([*arguments, "--seed", "12"]) == 0
    streams = site.announced()
    assert [a.topic for a, _ in streams] == [f"{site.topic}:0:{i * 25}:{i * 25 + 25}" for i in range(9)]
    first, second, third = (streams[i : i + 3] for i in (0, 3, 6))
    for (_, a), (_, b), (_, c) in zip(first, second, third, strict=True):
        assert a.y is not None and b.y is not None
        assert a.x.tobytes() == b.x.tobytes() != c.x.tobytes() and a.y.tobytes() == b.y.tobytes()


def test_a_topic_for_each_client_beyond_the_set(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Four clients share 1,797 digits evenly, which the script says; each has its own topic."""
    assert dummy.main([*site.options, "--clients", "4", "--topic-per-client", "--alpha", "0.5", "--json"]) == 0
    captured = capsys.readouterr()
    assert "1797 digits" in captured.err and "408 + 41" in captured.err and "client 4/4" in captured.err
    assert [s["topic"] for s in json.loads(captured.out)["streams"]] == [
        f"{site.topic}-{i}:0:0:449" for i in range(1, 5)
    ]
    assert [a.description for a, _ in site.announced()][3] == "Handwritten digits, client 4 of 4"


def test_streams_spread_over_a_topics_partitions(site: Site) -> None:
    """In a wide topic each client keeps to one partition, so its order holds."""
    producer = StreamProducer(client_config(site.bootstrap))
    producer.ensure_topic(stream_spec(site.topic, 2))
    producer.close()
    arguments = ["--quiet", "--clients", "3", "--train-samples", "10", "--test-samples", "2"]
    assert dummy.main([*site.options, *arguments]) == 0
    assert [a.topic for a, _ in site.announced()] == [
        f"{site.topic}:0:0:12", f"{site.topic}:1:0:12", f"{site.topic}:0:12:24",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "meant"), [(["--deployment", "300"], None), (["--federation", "ddy6heod"], "ddy6heod")]
)
def test_the_key_names_who_is_meant(site: Site, option: list[str], meant: str | None) -> None:
    """A federation's id names that one; Kafka-ML's number of a deployment means nobody in particular."""
    assert dummy.main([*site.options, "--quiet", "--train-samples", "3", "--test-samples", "1", *option]) == 0
    assert site.announced()[0][0].federation == meant


@pytest.mark.parametrize("start", [["-m", "inject_scripts.inject_dummy_training_data"], ["FILE"]])
def test_it_runs_as_a_module_and_as_a_file(site: Site, tmp_path: Path, start: list[str]) -> None:
    """From another folder as a file too; the broker comes from DATA_BOOTSTRAP_SERVERS."""
    as_file = start == ["FILE"]
    command = [str(ROOT / "inject_scripts" / "inject_dummy_training_data.py")] if as_file else start
    done = subprocess.run(
        [sys.executable, *command, *site.options[2:], "--train-samples", "4", "--test-samples", "1"],
        cwd=tmp_path if as_file else ROOT,
        env={"DATA_BOOTSTRAP_SERVERS": site.bootstrap, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "5 records in" in done.stderr and f"Announced 1 stream on {site.control}" in done.stdout
    assert site.announced()[0][0].total_msg == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--restriction", "{"], "--restriction is not JSON"),
        (["--federation", "X"], "federation id"),
        (["--validation-rate", "0.95"], "below 1"),
        (["--clients", "2000"], "too many"),
        (["--topic", "a:b"], "topic"),
        (["--client-config", "/does/not/exist"], "property file"),
    ],
)
def test_bad_options_are_one_line(
    site: Site, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Exit code 1 and one sentence that names the option."""
    assert dummy.main([*site.options, "--quiet", "--json", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert told in captured.err


def test_an_absent_broker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The address and the time waited."""
    assert dummy.main(["--bootstrap", "127.0.0.1:9", "--timeout", "1", "--quiet"]) == 1
    assert "error: no Kafka broker answered at 127.0.0.1:9 within 1 s" in capsys.readouterr().err


def test_ctrl_c_is_clean() -> None:
    """Interrupted while it waits for a broker that never answers: one line, exit code 130, at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        script = subprocess.Popen(
            [sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--timeout", "60"],
            cwd=ROOT,
            env={"DATA_BOOTSTRAP_SERVERS": f"127.0.0.1:{silent.getsockname()[1]}", "PATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            connection, _ = silent.accept()
            script.send_signal(signal.SIGINT)
            _, errors = script.communicate(timeout=PATIENCE)
            connection.close()
        finally:
            script.kill()
    assert script.returncode == 130 and errors.strip() == "interrupted: the unfinished stream is not announced"


# ------------------------------------------------------------ files
def test_idx_files_become_a_stream(site: Site, tmp_path: Path) -> None:
    """MNIST's files with --limit: scaled images, one-hot labels, test samples last."""
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    labels = np.array([0, 9, 4, 1, 1, 2], np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 6, 2, 2) + images.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 6) + labels.tobytes())
    arguments = ["--normalize", "--limit", "5", "--test-rate", "0.2", "--data-reshape", "4", "--quiet"]
    assert inject_files.main([str(tmp_path / "train-images-idx3-ubyte"), *site.options, *arguments]) == 0
    ((announcement, batch),) = site.announced()
    assert (announcement.total_msg, announcement.test_rate) == (5, 0.2)
    assert announcement.description == "train-images-idx3-ubyte"
    assert np.allclose(batch.x, images[:5].reshape(5, 4) / 255) and batch.y is not None
    assert batch.y.argmax(axis=1).tolist() == labels[:5].tolist()


def test_csv_npz_and_cifar_files_become_streams(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table in Avro, arrays of integers as they are stored in JSON, and CIFAR-10 batches in RAW."""
    (tmp_path / "t.csv").write_text("age,sick,weight\n40,1,70.5\n50,0,80\n")
    csv_options = ["--label-column", "sick", "--classes", "2", "--format", "avro", "--json", "--quiet"]
    assert inject_files.main([str(tmp_path / "t.csv"), *site.options, *csv_options]) == 0
    assert summary(capsys)["streams"][0]["topic"] == f"{site.topic}:0:0:2"
    np.savez(tmp_path / "a.npz", x=np.arange(12, dtype=np.int16).reshape(3, 4), y=np.array([0.5, 1.5, 2.5]))
    assert (
        inject_files.main([str(tmp_path / "a.npz"), *site.options, "--dtype", "stored", "--format", "JSON", "--quiet"])
        == 0
    )
    (tmp_path / "b.bin").write_bytes(bytes([7]) + bytes(range(256)) * 12)
    assert inject_files.main([str(tmp_path / "b.bin"), str(tmp_path / "b.bin"), *site.options, "--quiet"]) == 0
    (table, rows), (arrays, numbers), (cifar, pictures) = site.announced()
    assert table.input_format == "AVRO" and rows.x.tolist() == [[40, 70.5], [50, 80]]
    assert rows.y is not None and rows.y.tolist() == [[0, 1], [1, 0]]
    assert arrays.input_config["data_type"] == "int16" and numbers.x.tolist()[2] == [8, 9, 10, 11]
    assert numbers.y is not None and numbers.y.tolist() == [[0.5], [1.5], [2.5]]
    assert cifar.input_config["data_reshape"] == "32 32 3" and pictures.x.shape == (2, 32, 32, 3)
    assert pictures.y is not None and pictures.y.argmax(axis=1).tolist() == [7, 7]


def test_rows_of_a_file_go_to_several_clients(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--offset rows are left out, --limit counts the rest, and the clients get them in turn: a range each."""
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},{n % 2}\n" for n in range(12)))
    part = ["--offset", "2", "--limit", "8", "--clients", "3", "--test-rate", "0.34", "--drop", "none", "--json"]
    assert inject_files.main([str(tmp_path / "t.csv"), *site.options, *part, "--quiet"]) == 0
    told = summary(capsys)
    assert [(s["client"], s["topic"]) for s in told["streams"]] == [
        (1, f"{site.topic}:0:0:3"), (2, f"{site.topic}:0:3:6"), (3, f"{site.topic}:0:6:8"),
    ]  # fmt: skip
    announced = site.announced()
    assert [batch.x.ravel().tolist() for _, batch in announced] == [[2, 5, 8], [3, 6, 9], [4, 7]]
    assert [a.description for a, _ in announced] == [f"t.csv, client {n} of 3" for n in (1, 2, 3)]
    assert {a.test_rate for a, _ in announced} == {0.34}
    for words in (["--offset", "12"], ["--offset", "10", "--clients", "3"]):
        assert inject_files.main([str(tmp_path / "t.csv"), *site.options, *words, "--drop", "none", "--quiet"]) == 1
        assert f"rows are left after --offset {words[1]}, too few for --clients" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,4\n5,-1\n")
    assert (
        inject_files.main(
            [str(tmp_path / "bad.csv"), *site.options, "--offset", "1", "--classes", "9", "--drop", "none"]
        )
        == 1
    )
    assert "row 3" in capsys.readouterr().err


def test_a_bad_row_announces_nothing(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the cell; the whole file is read before a record is sent."""
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n5,six\n")
    assert inject_files.main([str(tmp_path / "t.csv"), *site.options, "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "line 4, column 'b', is 'six'" in error and "sent" not in error
    with pytest.raises(LogError, match="does not exist"):  # not even the control topic was made
        site.announced()


def test_an_empty_file_is_refused(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A header alone is no stream."""
    (tmp_path / "t.csv").write_text("a,b\n")
    assert inject_files.main([str(tmp_path / "t.csv"), *site.options, "--quiet"]) == 1
    assert "no sample" in capsys.readouterr().err
