"""From a record of FEDERATED_DATA_CONTROL_TOPIC to a DataSource, once, whatever bytes it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from backend.streams.models import RAW_BYTES, DataSource
from mainstem.errors import OLDER, DecodeError
from mainstem.protocol.log import Record
from mainstem.protocol.topics import CONTROL_RECORD_LIMIT
from mainstem.streams.announcement import DataAnnouncement
from mainstem.streams.survey import Standing

log = logging.getLogger(__name__)

_DEEPEST = 64


def take(cluster_id: str, topic_id: str, record: Record) -> tuple[DataSource, bool]:
    """The row of this record, and whether it is new. A record that announces no stream is kept with its `problem`.

    Where another record was read at that place before, it is the log of today that counts: see `forget`.
    """
    try:
        fields = _fields(record)
    except DecodeError as error:
        value = None if record.value is None else record.value[:RAW_BYTES]
        fields = {"problem": str(error), "value": value, "key": (record.key or b"")[:RAW_BYTES]}
    fields["timestamp_ms"] = record.timestamp_ms
    place = {"cluster_id": cluster_id, "topic_id": topic_id, "partition": record.partition, "offset": record.offset}
    known = DataSource.objects.filter(**place).first()
    if known is not None and not _same(known, fields):
        forget(known, f"{record.topic} holds another announcement at its offset {record.offset} now: {OLDER}")
    return DataSource.objects.get_or_create(**place, defaults=fields)


def _same(known: DataSource, fields: Mapping[str, Any]) -> bool:
    bytes_ = [None if value is None else bytes(value) for value in (known.key, known.value)]
    return [known.timestamp_ms, *bytes_] == [fields["timestamp_ms"], fields["key"], fields["value"]]


def forget(source: DataSource, why: str) -> None:
    """The log no longer holds this announcement: its row goes, or stays for its Jobs without a place in the log."""
    log.error("stream %s is no longer announced: %s", source.topic[:100], why)
    if not source.jobs.exists():
        source.delete()
        return
    away = {"partition": DataSource.NOWHERE, "offset": source.pk, "standing": Standing.GONE, "notice": why}
    DataSource.objects.filter(pk=source.pk).update(**away)


def _fields(record: Record) -> dict[str, Any]:
    """The announcement's columns; raises DecodeError for what is none or what no database can hold."""
    if record.value is not None and len(record.value) > CONTROL_RECORD_LIMIT:
        raise DecodeError(
            f"the announcement has {len(record.value):,} bytes; at most {CONTROL_RECORD_LIMIT:,} are taken"
        )
    if record.key is not None and len(record.key) > 64:
        raise DecodeError(f"the announcement's key has {len(record.key)} bytes; it must be a federation's id")
    said = DataAnnouncement.decode(record.key, record.value)
    unsupervised = said.unsupervised_topic or ""
    if len(unsupervised) > 249:
        raise DecodeError("unsupervised_topic is longer than a Kafka topic's name")
    fields = {
        "topic": said.topic,
        "input_format": said.input_format,
        "input_config": dict(said.input_config),
        "description": said.description,
        "restrictions": said.restrictions or None,
        "validation_rate": said.validation_rate,
        "test_rate": said.test_rate,
        "total_msg": said.total_msg,
        "incremental": said.incremental,
        "unsupervised_topic": unsupervised,
    }
    for name, value in fields.items():
        _check_storable(name, value)
    return {**fields, "key": record.key, "value": record.value, "addressed_to": said.federation or ""}


def _check_storable(name: str, value: Any) -> None:
    """Databases take neither NUL, nor half surrogates, nor NaN, nor nesting without end."""
    _check_depth(name, value, 0)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise DecodeError(f"{name} holds a number or a character that JSON does not know") from error
    if "\\u0000" in text:
        raise DecodeError(f"{name} holds a NUL character")


def _check_depth(name: str, value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise DecodeError(f"{name} is nested more than {_DEEPEST} levels deep")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        _check_depth(name, part, depth + 1)
