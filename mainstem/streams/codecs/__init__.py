"""RAW, Avro and JSON records <-> samples, as INPUT_FORMAT and INPUT_CONFIG describe them.

    codec = codec_for("RAW", {"data_type": "float32", "data_reshape": "784",
                              "label_type": "float32", "label_reshape": "10"})
    key, value = codec.encode(x, y)
    x, y = codec.decode(key, value)
    batch = codec.decode_many([(key, value), ...])     # batch.x, batch.y, batch.refused

The settings' names are Kafka-ML's; unknown ones (such as `type`) are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mainstem.errors import ConfigError
from mainstem.streams.codecs.avro import avro_parts
from mainstem.streams.codecs.codec import Codec, Record, SampleBatch, UndecodedRecord, check_classes, subtracted
from mainstem.streams.codecs.config import parse_dtype, parse_shape, raw_config, read_config
from mainstem.streams.codecs.json_text import json_parts
from mainstem.streams.codecs.part import ArrayPart, Wanted
from mainstem.streams.codecs.raw import RawPart

__all__ = [
    "FORMATS",
    "Codec",
    "Record",
    "SampleBatch",
    "UndecodedRecord",
    "codec_for",
    "parse_dtype",
    "parse_shape",
    "raw_config",
]

FORMATS: Final = ("RAW", "AVRO", "JSON")
"""What INPUT_FORMAT may be."""


def codec_for(
    input_format: str,
    input_config: Mapping[str, Any] | str,
    *,
    classes: int | None = None,
    wanted: Wanted = (None, None),
) -> Codec:
    """The codec of a stream.

    `input_config` is INPUT_CONFIG as JSON text or a mapping; `classes`, when the number of
    classes is known, makes labels out of range an error; `wanted` are the dtypes to read data and labels
    as, and a value that does not survive in them is an error. Raises ConfigError.
    """
    config = read_config(input_config)
    name = input_format.strip().upper() if isinstance(input_format, str) else ""
    data: ArrayPart
    label: ArrayPart | None
    if name == "RAW":
        labelled = config.get("label_type") is not None
        data = RawPart.from_config("data", config, wanted[0])
        label = RawPart.from_config("label", config, wanted[1]) if labelled else None
    elif name == "AVRO":
        data, label = avro_parts(config, wanted)
    elif name == "JSON":
        data, label = json_parts(config, wanted)
    else:
        raise ConfigError(f"INPUT_FORMAT is {str(input_format)[:40]!r}; it must be one of {', '.join(FORMATS)}")
    check_classes(label, classes)
    return Codec(name, data, label, classes, subtracted(config, label))
