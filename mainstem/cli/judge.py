"""Measures a downloaded model on test samples read from Kafka, in a process of its own that loads the `.keras` file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import DecodeError, MainstemError
from mainstem.kafka.client.log import KafkaLog
from mainstem.runtime.processes import run_child
from mainstem.streams.codecs import codec_for

SECONDS = 900  # TensorFlow takes its time to start on a busy machine


class JudgeError(MainstemError):
    """The model could not be measured; the message says why."""


def test_samples(
    log: KafkaLog, stream: Mapping[str, Any], input_format: str, config: Mapping[str, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(x, y) of the last `stream["test"]` samples of an injected stream, as the injection script reported it."""
    codec = codec_for(input_format, config)
    records = [
        (record.key, record.value or b"")
        for part in stream["offsets"]
        for record in log.read(part["topic"], part["partition"], part["start"], part["end"])
    ]
    batch = codec.decode_many(records[-stream["test"] :])
    if batch.refused or batch.y is None:
        raise DecodeError(f"the test samples of {stream['topic']} cannot be read back as they were sent")
    return batch.x, batch.y


def predictions(model: Path, inputs: NDArray[Any]) -> NDArray[Any]:
    """What the `.keras` file answers to `inputs`: the workshop loads it and runs it; this process loads no Keras.

    Raises JudgeError.
    """
    with tempfile.TemporaryDirectory(prefix="mainstem-judge-") as name:
        directory = Path(name)
        (directory / "model.keras").write_bytes(model.read_bytes())
        np.save(directory / "x.npy", inputs, allow_pickle=False)
        try:
            with zipfile.ZipFile(model) as archive:
                architecture = archive.read("config.json").decode()
        except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise JudgeError(f"{model} is no .keras file: {error}") from error
        ask = [
            # It leaves the file's weights beside it.
            {"op": "build", "dir": name, "kind": "keras", "file": "model.keras", "own": True},
            {"op": "predict", "dir": name, "architecture": architecture, "weights": "weights.npz",
             "inputs": "x.npy", "out": "y.npy"},
        ]  # fmt: skip
        done = run_child(
            [sys.executable, "-m", "federated_training.workshop"], given=json.dumps({"ops": ask}), seconds=SECONDS,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        try:
            answers = json.loads(done.stdout)["answers"]
        except (ValueError, KeyError, TypeError):
            raise JudgeError(f"the workshop failed: {done.stderr.strip()[-300:]}") from None
        for answer in answers:
            if not answer["ok"]:
                raise JudgeError(f"the model cannot be run: {answer['error']['message']}")
        outputs: NDArray[Any] = np.load(directory / "y.npy", allow_pickle=False)
        return outputs


def accuracies(model: Path, samples: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> list[float]:
    """The model's accuracy on each set of (x, one-hot y), with one start of the model's process."""
    outputs = predictions(model, np.concatenate([x for x, _ in samples]))
    right = outputs.argmax(axis=1) == np.concatenate([y for _, y in samples]).argmax(axis=1)
    ends = np.cumsum([len(x) for x, _ in samples])[:-1]
    return [float(part.mean()) for part in np.split(right, ends)]
