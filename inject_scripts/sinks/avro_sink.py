"""AvroSink: training data as schemaless Avro records."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from inject_scripts.announcement import Deployment
from inject_scripts.sinks.sink import KafkaMLSink
from mainstem.errors import ConfigError
from mainstem.protocol.topics import DATA_CONTROL
from mainstem.streams.codecs import codec_for


class AvroSink(KafkaMLSink):
    """A sink of Avro data; `close` announces it.

    `data_scheme_filename` and `label_scheme_filename` are files with an Avro schema each. Beyond
    Kafka-ML's arguments, `dataset_restrictions` addresses federations, and `data_reshape` and
    `label_reshape` give the shape of schemas with arrays. Others: see KafkaMLSink.
    """

    def __init__(
        self,
        boostrap_servers: str | Iterable[str],
        topic: str,
        deployment_id: Deployment,
        data_scheme_filename: str | Path,
        label_scheme_filename: str | Path,
        description: str = "",
        validation_rate: float = 0,
        test_rate: float = 0,
        control_topic: str = DATA_CONTROL,
        group_id: str = "sink",
        *,
        dataset_restrictions: Mapping[str, Any] | str | None = None,
        data_reshape: str | None = None,
        label_reshape: str | None = None,
    ) -> None:
        self.data_scheme_filename = data_scheme_filename
        self.data_schema = _text(data_scheme_filename)
        self.avro_data_schema = _schema(self.data_schema, data_scheme_filename)
        self.label_scheme_filename = label_scheme_filename
        self.label_schema = _text(label_scheme_filename)
        self.avro_label_schema = _schema(self.label_schema, label_scheme_filename)
        config: dict[str, Any] = {"data_scheme": self.data_schema, "label_scheme": self.label_schema}
        config |= {"data_reshape": data_reshape} if data_reshape is not None else {}
        config |= {"label_reshape": label_reshape} if label_reshape is not None else {}
        codec_for("AVRO", config)  # what no Job could read should show now
        super().__init__(
            boostrap_servers, topic, deployment_id, "AVRO", description, dataset_restrictions or {},
            validation_rate, test_rate, control_topic, group_id,
        )  # fmt: skip
        self.input_config = config

    def send_avro(self, data: Any, label: Any) -> None:
        """Queue a sample: both are what their schema describes (a dict for a record); raises ConfigError."""
        self.send(_written(self.avro_data_schema, data, "data"), _written(self.avro_label_schema, label, "label"))


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the Avro schema {path} cannot be read: {error}") from error


def _schema(text: str, path: str | Path) -> Any:
    try:
        return fastavro.parse_schema(json.loads(text))
    except Exception as error:  # fastavro raises many kinds
        raise ConfigError(f"{path} is not an Avro schema: {error}") from error


def _written(schema: Any, value: Any, role: str) -> bytes:
    buffer = io.BytesIO()
    try:
        fastavro.schemaless_writer(buffer, schema, _plain(value))
    except Exception as error:  # fastavro raises many kinds
        raise ConfigError(f"the {role} does not fit its Avro schema: {error}") from error
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """NumPy's arrays and numbers as Python's, also inside dicts and lists."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
