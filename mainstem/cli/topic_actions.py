"""`mainstem topics create|read|delete`: what Kafka's own programs do, where there are none."""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from mainstem.cli.output import Output, UsageError
from mainstem.cli.where import data_config, kafka_config
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client.log import KafkaLog
from mainstem.platform.home import Home
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.log import Record
from mainstem.protocol.packing import has_payload, text_of
from mainstem.protocol.topics import TopicSpec, check_topic_name, is_of_the_cloud, reserved

POLL_SECONDS = 0.5


def add_actions(parser: argparse.ArgumentParser) -> None:
    """The actions; without one, the topics are listed."""
    actions = parser.add_subparsers(dest="action", metavar="{create,read,delete}", title="other than listing them")

    def action(name: str, text: str, run: Callable[[argparse.Namespace, Home, Output], int]) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("topic", metavar="TOPIC")
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
        made.add_argument("--home", type=Path, default=argparse.SUPPRESS, help="state directory, as of all commands")
        made.set_defaults(act=run)
        return made

    create = action("create", "make a topic for samples", _create)
    create.add_argument("--partitions", type=int, default=1, metavar="N", help="(default: %(default)s)")
    create.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of Kafka's, such as retention.ms=-1",
    )
    read = action("read", "print a topic's records, one a line", _read)
    read.add_argument("--partition", type=int, metavar="N", help="(default: all, one after the other)")
    read.add_argument("--from", type=int, dest="first", metavar="OFFSET", help="(default: the first there is)")
    read.add_argument("--limit", type=int, metavar="N", help="at most so many records")
    read.add_argument("--follow", "-f", action="store_true", help="go on with what comes, until Ctrl-C (one partition)")
    delete = action("delete", "delete a topic of samples, with its records", _delete)
    delete.add_argument("--yes", action="store_true", help="do it: nothing brings the records back")


def _opened(home: Home, topic: str) -> closing[KafkaLog]:
    """The Kafka that a topic of that name is on: the protocol's the cloud's, all others the data's."""
    check_topic_name(topic)
    return closing(KafkaLog(kafka_config(home) if is_of_the_cloud(topic) else data_config(home)))


def _create(options: argparse.Namespace, home: Home, output: Output) -> int:
    _refuse_reserved(options.topic, "make")
    if not 1 <= options.partitions <= 10_000:
        raise UsageError(f"--partitions is {options.partitions}; it must be from 1 to 10000")
    pairs = [text.partition("=") for text in options.config]
    if wrong := [name for name, equals, value in pairs if not (name and equals and value)]:
        raise UsageError(f"--config takes NAME=VALUE, not {wrong[0][:60]!r}")
    with _opened(home, options.topic) as log:
        if log.identify(options.topic) is not None:
            raise ConfigError(
                f"topic {options.topic} exists already, with {log.partitions(options.topic)} partition(s)"
            )
        log.create_topics([TopicSpec(options.topic, options.partitions, {name: value for name, _, value in pairs})])
    if options.json:
        output.result({"topic": options.topic, "partitions": options.partitions})
    else:
        many = "one partition" if options.partitions == 1 else f"{options.partitions} partitions"
        output.show(f"{options.topic}: made, with {many}")
    return 0


def _delete(options: argparse.Namespace, home: Home, output: Output) -> int:
    _refuse_reserved(options.topic, "delete")
    with _opened(home, options.topic) as log:
        _must_exist(log, options.topic)
        bounds = [log.bounds(options.topic, number) for number in range(log.partitions(options.topic))]
        records = sum(end - first for first, end in bounds)
        if not options.yes:
            raise UsageError(f"this destroys {options.topic} with its {records} records: say --yes to do it")
        log.delete_topics([options.topic])
    if options.json:
        output.result({"topic": options.topic, "records": records})
    else:
        output.show(f"{options.topic}: deleted, with {records} records")
    return 0


def _refuse_reserved(topic: str, doing: str) -> None:
    check_topic_name(topic)
    if why := reserved(topic):
        raise ConfigError(f"{topic} is not yours to {doing}: {why}")


def _must_exist(log: KafkaLog, topic: str) -> None:
    if log.identify(topic) is None:
        raise ConfigError(
            f"there is no topic {topic}: `mainstem topics` lists them, `mainstem topics create` makes one"
        )


def _read(options: argparse.Namespace, home: Home, output: Output) -> int:
    with _opened(home, options.topic) as log:
        _must_exist(log, options.topic)
        count = log.partitions(options.topic)
        if options.partition is not None and not 0 <= options.partition < count:
            raise ConfigError(f"{options.topic} has {count} partition(s), from 0 on: there is no {options.partition}")
        numbers = range(count) if options.partition is None else [options.partition]
        if len(numbers) > 1 and (options.follow or options.first is not None):
            raise UsageError(f"{options.topic} has {count} partitions: --partition says of which")
        left = options.limit
        for record in _records(log, options.topic, numbers, options.first, options.follow):
            if left is not None and left <= 0:
                break
            left = None if left is None else left - 1
            if options.json:
                print(json.dumps(as_json(record), ensure_ascii=False), flush=True)
            else:
                output.show(line_of(record))
    return 0


def _records(
    log: KafkaLog, topic: str, partitions: range | list[int], start: int | None, follow: bool
) -> Iterator[Record]:
    """The records from `start` on, or the first that there is, to the present end or for ever; raises LogError."""
    for number in partitions:
        first, end = log.bounds(topic, number)
        begin = first if start is None else start
        if not first <= begin <= end:
            raise LogError(f"{topic}, partition {number}, holds the offsets {first} to {end - 1}; there is no {begin}")
        yield from log.read(topic, number, begin, end)
        if follow:
            with closing(log.cursor(topic, number, end)) as cursor:
                while True:
                    yield from cursor.poll(POLL_SECONDS)


def line_of(record: Record) -> str:
    """`partition:offset`, then key and value where they are text, else their size in bytes."""
    if record.value is None:
        value = "(deleted)"
    elif is_chunk(record.headers):
        value = f"(chunk of weights, {len(record.value)} bytes)"
    elif has_payload(record.headers):
        value = f"{_text(text_of(record) or b'')} (and {len(record.value)} bytes of weights)"
    else:
        value = _text(record.value)
    key = "" if record.key is None else f"{_text(record.key)}  "
    return f"{record.partition}:{record.offset}  {key}{value}"


def as_json(record: Record) -> dict[str, Any]:
    """A record for programs: a JSON value as it is, else text, else `value_base64`; likewise the key."""
    named = {"partition": record.partition, "offset": record.offset, "timestamp_ms": record.timestamp_ms}
    return named | _told("key", record.key) | _told("value", record.value)


def _told(name: str, value: bytes | None) -> dict[str, Any]:
    text = None if value is None else _decoded(value)
    if value is None or (text is not None and name == "key"):
        return {name: text}
    if text is None:
        return {f"{name}_base64": base64.b64encode(value).decode()}
    try:
        return {name: json.loads(text)}
    except (ValueError, RecursionError):
        return {name: text}


def _text(value: bytes) -> str:
    text = _decoded(value)
    return f"({len(value)} bytes)" if text is None else text.replace("\n", "\\n")


def _decoded(value: bytes) -> str | None:
    """Text; None for what is none. A deployment's number, or samples, may be UTF-8 by chance."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if any(ord(c) < 32 and c not in "\t\n\r" for c in text) else text
