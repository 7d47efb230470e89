"""Sending samples into a topic and announcing them: what all injection scripts do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inject_scripts.announcement import control_message, control_spec, range_text
from mainstem.errors import ConfigError, DecodeError
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.protocol.topics import stream_spec
from mainstem.streams.codecs import Codec

Sample = tuple[Any, Any]
"""(x, y) as the codec takes them; y is None without a label."""

_AVRO_TYPES = {"f2": "float", "f4": "float", "f8": "double", "b1": "boolean", "i8": "long", "u4": "long"}


@dataclass(frozen=True, slots=True)
class Announcing:
    """What every stream of one run says about itself: see `control_message`."""

    control_topic: str
    key: bytes | None
    input_format: str
    input_config: Mapping[str, Any]
    restrictions: Any
    validation_rate: float


def input_config(
    input_format: str,
    x_shape: tuple[int, ...],
    x_dtype: np.dtype[Any],
    y_shape: tuple[int, ...] | None,
    y_dtype: np.dtype[Any] | None,
) -> dict[str, Any]:
    """INPUT_CONFIG for samples of these shapes and dtypes; `y_shape` is None without labels."""
    sides: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = [("data", x_shape, x_dtype)]
    if y_shape is not None and y_dtype is not None:
        sides.append(("label", y_shape, y_dtype))
    config: dict[str, Any] = {f"{role}_type": dtype.name for role, _, dtype in sides}
    config |= {f"{role}_reshape": " ".join(map(str, shape)) or "1" for role, shape, _ in sides}
    if input_format == "AVRO":
        config |= {f"{role}_scheme": _scheme(role, dtype) for role, _, dtype in sides}
    return config


def _scheme(role: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    if dtype == np.uint64:
        raise ConfigError("AVRO has no unsigned integers of 64 bits; use --format RAW or JSON")
    items = _AVRO_TYPES.get(f"{dtype.kind}{dtype.itemsize}", "int")
    return {
        "type": "record",
        "name": role,
        "fields": [{"name": role, "type": {"type": "array", "items": items}}],
    }


class Injector:
    """Sends streams one after another through one producer."""

    def __init__(self, producer: StreamProducer, codec: Codec, announcing: Announcing) -> None:
        self._producer = producer
        self._codec = codec
        self._announcing = announcing
        producer.ensure_topic(control_spec(announcing.control_topic))

    def inject(
        self,
        samples: Iterable[Sample],
        *,
        topic: str,
        description: str,
        test_rate: float,
        lane: int = 0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Send all samples, then announce them; returns what was announced and where.

        All go to one partition, so that the order holds and the test samples come last; `lane` chooses
        it in a topic that has several. `test_rate` of the samples are for test.
        Raises ConfigError, DecodeError and LogError; nothing is announced then.
        """
        partition = lane % self._producer.ensure_topic(stream_spec(topic))
        self._producer.forget(topic)
        count = 0
        try:
            for x, y in samples:
                key, value = self._codec.encode(x, y)
                self._producer.send(topic, value, key, partition)
                count += 1
                progress(count)
        except (ConfigError, DecodeError) as error:
            sent = f" (the {count} records sent before it are not announced)" if count else ""
            raise type(error)(f"{error}{sent}") from error
        if not count:
            raise ConfigError("there is no sample to inject")
        tests = round(count * test_rate)
        ranges = self._producer.sent(topic)
        settings = self._announcing
        body = control_message(
            topic=range_text(ranges),
            unsupervised_topic=None,
            input_format=settings.input_format,
            description=description,
            dataset_restrictions=settings.restrictions,
            input_config=settings.input_config,
            validation_rate=settings.validation_rate,
            test_rate=test_rate,
            total_msg=count,
            incremental=False,
        )
        at, offset = self._producer.append(settings.control_topic, body, settings.key)
        return {
            "topic": range_text(ranges),
            "offsets": [{"topic": r.topic, "partition": r.partition, "start": r.start, "end": r.end} for r in ranges],
            "total_msg": count,
            "train": count - tests,
            "test": tests,
            "test_rate": test_rate,
            "validation_rate": settings.validation_rate,
            "description": description,
            "control": {"topic": settings.control_topic, "partition": at, "offset": offset},
        }
