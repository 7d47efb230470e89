"""Write a run to one file: whatever a version names, and a manifest with the sha256 of all of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mainstem.aggregation.spill import Spill
from mainstem.errors import ConfigError, DecodeError
from mainstem.lineage.frames import frame
from mainstem.lineage.history import History, read_history
from mainstem.lineage.passing import FixedEnds
from mainstem.lineage.picking import Picker, Range
from mainstem.lineage.runfile import FORMAT, MANIFEST, SCHEMA, PartitionExtent, RunManifest, Stated
from mainstem.protocol.log import MessageLog, Record
from mainstem.protocol.messages import Payload, Progress, Round, decode_control
from mainstem.protocol.updates import GAP
from mainstem.protocol.witness import Statement, objection_to, witness_of


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `incomplete` are the versions that can no longer be re-derived; `sha256` is the manifest's.

    `objection` says that the log is not the witnessed one; empty where it is.
    """

    path: Path
    nbytes: int
    records: int
    versions: int
    incomplete: tuple[int, ...]
    sha256: str
    objection: str


def export(
    log: MessageLog, federation: str, target: Path, software: str = "", statement: Statement | None = None
) -> Exported:
    """Write the run to `target`, streaming, with the `statement` of its witness, else with its own end as the witness.

    Raises ConfigError where that cannot be written or exists, LogError."""
    if target.exists():
        raise ConfigError(f"{target} exists already: choose another name")
    history, source = read_history(log, federation), FixedEnds(log)
    end = witness_of(history.hashes)
    assert end is not None  # a history has an opened record
    statement = statement or Statement(federation=federation, witness=end)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with closing(Spill()) as spill:
            picker = Picker(source, history, spill)
            written = _write(source, history, picker, scratch, software, statement)
            if written is None:  # now it is known what is named, and is read in order once more
                scratch.unlink()
                written = _write(source, history, picker, scratch, software, statement)
            assert written is not None
        nbytes = scratch.stat().st_size
        scratch.rename(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    manifest, sha256 = written
    return Exported(
        path=target,
        nbytes=nbytes,
        records=sum(part.records for part in manifest.parts),
        versions=len(manifest.versions),
        incomplete=tuple(stated.version for stated in manifest.versions if not stated.complete),
        sha256=sha256,
        objection=objection_to(federation, history.hashes, statement.witness),
    )


def _write(
    source: FixedEnds, history: History, picker: Picker, scratch: Path, software: str, statement: Statement
) -> tuple[RunManifest, str] | None:
    """The archive's manifest and the sha256 of that; None where the picker has only now missed something."""
    known = picker.missed
    with zipfile.ZipFile(scratch, "x", zipfile.ZIP_STORED) as archive:
        parts = list(_parts(source, history, picker, archive))
        if picker.missed and not known:
            return None
        rounds = [link.record for link in history.links if isinstance(link.record, Round)]
        manifest = RunManifest(
            format=FORMAT,
            schema=SCHEMA,
            federation=history.opened.federation,
            head=history.head.link.hash,
            versions=[
                Stated(version=0, sha256=history.opened.weights.sha256, complete=True),
                *(
                    Stated(version=r.version, sha256=r.weights.sha256, complete=r.version not in picker.incomplete)
                    for r in rounds
                ),
            ],
            parts=parts,
            witness=statement.witness,
            acceptances=statement.acceptances,
            software=software,
        )
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        archive.writestr(zipfile.ZipInfo(MANIFEST), text)
    return manifest, hashlib.sha256(text).hexdigest()


def _parts(source: FixedEnds, history: History, picker: Picker, archive: zipfile.ZipFile) -> Iterator[PartitionExtent]:
    topics, known = history.opened.topics, picker.missed
    models: dict[int, list[Range]] = {}
    for weights in _models(history):
        for run in weights.chunks:
            models.setdefault(run.partition, []).append((run.first, run.first + run.count))
    control = {0: [source.bounds(topics.control, 0)]}
    named = (("control", topics.control, control), ("data", topics.data, models))
    for role, topic, ranges in (*named, ("aggregator", topics.aggregator, picker.ranges)):
        for partition in range(source.partitions(topic)):
            if (role, partition) == ("aggregator", 0) and not known:
                records = picker.records()
            else:
                records = _records(source, topic, partition, ranges.get(partition, []))
            if role == "control":
                records = (record for record in records if not _passing(record))
            yield _part(source, topic, partition, f"records/{role}-{partition}", records, archive)


def _models(history: History) -> Iterator[Payload]:
    yield history.opened.weights
    for link in history.links:
        if isinstance(link.record, Round):
            yield from (link.record.weights, *link.record.state.values())
            if link.record.weights.change is not None:
                yield link.record.weights.change


def _part(
    source: FixedEnds, topic: str, partition: int, entry: str, records: Iterator[Record], archive: zipfile.ZipFile
) -> PartitionExtent:
    begin, end = source.bounds(topic, partition)
    state, count, nbytes = hashlib.sha256(), 0, 0
    with archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as sink:
        for record in records:
            for piece in frame(record):
                sink.write(piece)
                state.update(piece)
                nbytes += len(piece)
            count += 1
    return PartitionExtent(
        topic=topic,
        partition=partition,
        begin=begin,
        end=end,
        entry=entry,
        records=count,
        nbytes=nbytes,
        sha256=state.hexdigest(),
    )


def _records(source: FixedEnds, topic: str, partition: int, ranges: list[Range]) -> Iterator[Record]:
    """The records of these ranges as far as they are there, in order, each once."""
    merged = _merged(ranges, *source.bounds(topic, partition))
    spans: list[list[Range]] = []
    for piece in merged:
        if spans and piece[0] - spans[-1][-1][1] <= GAP:
            spans[-1].append(piece)
        else:
            spans.append([piece])
    for span in spans:
        pieces = iter(span)
        first, last = next(pieces)
        for record in source.read(topic, partition, span[0][0], span[-1][1]):
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
