"""Write a run to one file: whatever a version names, and a manifest with the sha256 of all of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mainstem.errors import ConfigError, DecodeError, RefusedError, UnreadableError
from mainstem.lineage.frames import frame
from mainstem.lineage.history import History, read_history
from mainstem.lineage.proving import manifest_of
from mainstem.lineage.runfile import FORMAT, MANIFEST, SCHEMA, Manifest, Part, Stated
from mainstem.messages import Progress, Round, Weights, decode_control
from mainstem.ports import MessageLog, Record
from mainstem.updates import GAP

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `incomplete` are the versions that can no longer be re-derived; `sha256` is the manifest's."""

    path: Path
    nbytes: int
    records: int
    versions: int
    incomplete: tuple[int, ...]
    sha256: str


@dataclass(slots=True)
class _Wanted:
    """Ranges of offsets by (topic, partition), and what each version lacks."""

    ranges: dict[tuple[str, int], list[Range]] = field(default_factory=dict)
    versions: list[Stated] = field(default_factory=list)

    def add(self, topic: str, partition: int, first: int, count: int) -> None:
        self.ranges.setdefault((topic, partition), []).append((first, first + count))

    def chunks(self, topic: str, weights: Weights) -> None:
        for run in weights.chunks:
            self.add(topic, run.partition, run.first, run.count)


def export(log: MessageLog, federation: str, target: Path, software: str = "") -> Exported:
    """Write the run to `target`, streaming; raises ConfigError where that cannot be written or exists, LogError."""
    if target.exists():
        raise ConfigError(f"{target} exists already: choose another name")
    history = read_history(log, federation)
    wanted = _wanted(log, history)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(scratch, "x", zipfile.ZIP_STORED) as archive:
            parts = list(_parts(log, history, wanted, archive))
            manifest = Manifest(
                format=FORMAT,
                schema=SCHEMA,
                federation=federation,
                head=history.head.link.hash,
                versions=wanted.versions,
                parts=parts,
                software=software,
            )
            text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
            archive.writestr(zipfile.ZipInfo(MANIFEST), text)
        nbytes = scratch.stat().st_size
        scratch.rename(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    return Exported(
        path=target,
        nbytes=nbytes,
        records=sum(part.records for part in parts),
        versions=len(wanted.versions),
        incomplete=tuple(stated.version for stated in wanted.versions if not stated.complete),
        sha256=hashlib.sha256(text).hexdigest(),
    )


def _wanted(log: MessageLog, history: History) -> _Wanted:
    topics, wanted = history.opened.topics, _Wanted()
    _, end = log.bounds(topics.control, 0)
    wanted.add(topics.control, 0, 0, end)
    wanted.chunks(topics.data, history.opened.weights)
    wanted.versions.append(Stated(version=0, sha256=history.opened.weights.sha256, complete=True))
    for _, record in history.steps():
        if not isinstance(record, Round):
            continue
        wanted.chunks(topics.data, record.weights)
        complete = True
        for item in record.accepted:
            wanted.add(topics.aggregator, 0, item.offset, 1)
            try:
                wanted.chunks(topics.aggregator, manifest_of(log, topics.aggregator, item).weights)
            except (UnreadableError, RefusedError, DecodeError):
                complete = False
        wanted.versions.append(Stated(version=record.version, sha256=record.weights.sha256, complete=complete))
    return wanted


def _parts(log: MessageLog, history: History, wanted: _Wanted, archive: zipfile.ZipFile) -> Iterator[Part]:
    topics = history.opened.topics
    for role, topic in (("control", topics.control), ("data", topics.data), ("aggregator", topics.aggregator)):
        for partition in range(log.partitions(topic)):
            begin, end = log.bounds(topic, partition)
            entry = f"records/{role}-{partition}"
            state, count, nbytes = hashlib.sha256(), 0, 0
            with archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as sink:
                for record in _records(log, topic, partition, wanted.ranges.get((topic, partition), []), begin, end):
                    if role == "control" and _passing(record):
                        continue
                    for piece in frame(record):
                        sink.write(piece)
                        state.update(piece)
                        nbytes += len(piece)
                    count += 1
            yield Part(
                topic=topic,
                partition=partition,
                begin=begin,
                end=end,
                entry=entry,
                records=count,
                nbytes=nbytes,
                sha256=state.hexdigest(),
            )


def _records(
    log: MessageLog, topic: str, partition: int, ranges: list[Range], begin: int, end: int
) -> Iterator[Record]:
    """The records of these ranges as far as they are there, in order, each once."""
    merged = _merged(ranges, begin, end)
    spans: list[list[Range]] = []
    for piece in merged:
        if spans and piece[0] - spans[-1][-1][1] <= GAP:
            spans[-1].append(piece)
        else:
            spans.append([piece])
    for span in spans:
        pieces = iter(span)
        first, last = next(pieces)
        for record in log.read(topic, partition, span[0][0], span[-1][1]):
            while record.offset >= last:
                first, last = next(pieces)
            if record.offset >= first:
                yield record


def _merged(ranges: list[Range], begin: int, end: int) -> list[Range]:
    merged: list[Range] = []
    kept = ((max(first, begin), min(last, end)) for first, last in sorted(ranges))
    for first, last in kept:
        if first >= last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _passing(record: Record) -> bool:
    """Progress is for people while it lasts; no version rests on it."""
    try:
        return isinstance(decode_control(record.value), Progress)
    except DecodeError:
        return False
