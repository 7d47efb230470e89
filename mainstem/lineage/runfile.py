"""An exported run: one file, read as a message log that cannot be written, on a machine without a broker.

It is a zip archive of stored entries: `manifest.json`, and for each partition its frames. Nothing of it is believed
before it is checked, and memory is an index of 16 bytes a record.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from mainstem.errors import DecodeError, LogError, UnreadableError
from mainstem.lineage.frames import HEAD, measure, read_frame
from mainstem.lineage.history import read_history
from mainstem.lineage.proving import Proof, verify
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages.parts import Count
from mainstem.protocol.topics import TopicSpec, aggregator_topic, control_topic, data_topic
from mainstem.protocol.witness import Acceptance, Statement, Witness, objection_to

FORMAT, SCHEMA = "mainstem-run", 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 << 20
_LOCAL = struct.Struct("<4s22xHH")  # a local file header: signature, lengths of its name and of its extra field
_PIECE_BYTES = 1 << 20
_HELD = 16 << 20  # bytes after which a poll gives what it has


class PartitionExtent(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's records in the file. `begin` and `end` are the log's bounds when it was exported."""

    topic: str
    partition: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    begin: Count
    end: Count
    entry: str
    records: Count
    nbytes: Count
    sha256: str


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """A version as the manifest lists it. `complete`: all that it names was there to be exported."""

    version: Count
    sha256: str
    complete: bool


class RunManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `head` is the sha256 of the record at the chain's head.

    `witness` is what was witnessed of the log when it was exported, and `acceptances` what people had decided.
    """

    format: str
    schema: int
    federation: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{8}\Z")]
    head: str
    versions: list[Stated]
    parts: list[PartitionExtent]
    witness: Witness
    acceptances: tuple[Acceptance, ...] = ()
    software: str = ""


class RunFile:
    """Implements `log.MessageLog` over a file. Raises DecodeError where the file is not what it must be.

    Opening reads it once from end to end. Use it as a context manager, or close it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_file():  # a device may have no end
            raise DecodeError(f"{path} cannot be read: it is no regular file")
        try:
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise DecodeError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def federation(self) -> str:
        """Whose run it is."""
        return self.manifest.federation

    @property
    def statement(self) -> Statement:
        """What the file says of the log's witness."""
        manifest = self.manifest
        return Statement(federation=self.federation, witness=manifest.witness, acceptances=manifest.acceptances)

    def proofs(self, witness: Witness | None = None) -> Iterator[Proof]:
        """`verify`, that the run is the one that the manifest states, and that it holds this witness and its own."""
        stated = {each.version: each.sha256 for each in self.manifest.versions}
        for proof in verify(self, self.federation, witness=self.manifest.witness):
            if proof.version is None or stated.pop(proof.version, None) == proof.sha256 or proof.state == "differs":
                yield proof
            else:
                yield Proof(proof.version, proof.sha256, "differs", "the manifest states another sha256 for it")
        for version, sha256 in stated.items():
            yield Proof(version, sha256, "differs", "the manifest states it, but the records do not make it")
        history = read_history(self, self.federation)
        if witness != self.manifest.witness and (said := objection_to(self.federation, history.hashes, witness)):
            yield Proof(None, "", "differs", said)
        if history.head.link.hash != self.manifest.head:
            yield Proof(None, "", "differs", "the run's head is not the one that the manifest states")

    # ------------------------------------------------------------ opening
    def _open(self) -> None:
        try:
            with zipfile.ZipFile(self._file) as archive:
                entries = self._entries(archive)
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OSError, OverflowError) as error:
            raise DecodeError(f"{self._path} is no exported run: {error}") from error
        self.manifest, self.manifest_sha256 = self._manifest(entries)
        named = [part.entry for part in self.manifest.parts]
        if sorted([*named, MANIFEST]) != sorted(entries):
            raise DecodeError(f"{self._path}: the manifest does not name the file's entries, each of them once")
        self._parts: dict[str, list[_Index]] = {}
        for part in self.manifest.parts:
            place, size = entries[part.entry]
            self._parts.setdefault(part.topic, []).append(_Index(self._file, self._path, part, place, size))
        names = {topic(self.federation) for topic in (control_topic, data_topic, aggregator_topic)}
        numbered = all(
            [each.part.partition for each in held] == list(range(len(held))) for held in self._parts.values()
        )
        if set(self._parts) != names or not numbered:
            raise DecodeError(f"{self._path} does not hold the partitions of the federation's three topics, in order")

    def _entries(self, archive: zipfile.ZipFile) -> dict[str, tuple[int, int]]:
        """Name -> (place of its first byte, size); nothing is decompressed, so nothing can grow."""
        entries: dict[str, tuple[int, int]] = {}
        length = self._file.seek(0, 2)
        total = 0
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise DecodeError(f"{self._path}: entry {info.filename[:80]!r} is compressed or encrypted; none may be")
            if info.filename in entries:
                raise DecodeError(f"{self._path}: entry {info.filename[:80]!r} is there twice")
            self._file.seek(info.header_offset)
            head = self._file.read(_LOCAL.size)
            if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
                raise DecodeError(f"{self._path}: entry {info.filename[:80]!r} does not begin where it should")
            _, name, extra = _LOCAL.unpack(head)
            place = info.header_offset + _LOCAL.size + name + extra
            total += info.file_size
            if place + info.file_size > length or total > length:
                raise DecodeError(f"{self._path}: entry {info.filename[:80]!r} claims more than the file holds")
            entries[info.filename] = (place, info.file_size)
        return entries

    def _manifest(self, entries: dict[str, tuple[int, int]]) -> tuple[RunManifest, str]:
        place, size = entries.get(MANIFEST, (0, 0))
        if not 0 < size <= LARGEST_MANIFEST:
            raise DecodeError(f"{self._path} is no exported run: it has no {MANIFEST} of a sensible size")
        self._file.seek(place)
        text = self._file.read(size)
        try:
            manifest = msgspec.json.decode(text, type=RunManifest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"{self._path}: {MANIFEST} is not readable: {error}") from error
        if (manifest.format, manifest.schema) != (FORMAT, SCHEMA):
            raise DecodeError(
                f"{self._path}: {MANIFEST} is of a format that is not known here (this is schema {SCHEMA})"
            )
        return manifest, hashlib.sha256(text).hexdigest()

    # ------------------------------------------------------------ log.MessageLog
    def _index(self, topic: str, partition: int) -> _Index:
        held = self._parts.get(topic, [])
        if not 0 <= partition < len(held):
            raise LogError(f"{self._path} holds no partition {partition} of {topic}")
        return held[partition]

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`. Records that no version names are not in the file."""
        index = self._index(topic, partition)
        if start < index.part.begin:
            raise UnreadableError(
                f"{topic} partition {partition} was exported from {index.part.begin}; {start} is gone"
            )
        if end > index.part.end:
            raise LogError(f"{topic} partition {partition} ends at offset {index.part.end}, before {end}")
        return index.records(start, end)

    def cursor(self, topic: str, partition: int, start: int) -> FileCursor:
        """See `log.MessageLog`."""
        return FileCursor(self._index(topic, partition), start)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `log.MessageLog`."""
        part = self._index(topic, partition).part
        return part.begin, part.end

    def partitions(self, topic: str, least: int = 1) -> int:
        """See `log.MessageLog`."""
        self._index(topic, 0)
        return len(self._parts[topic])

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """Raises LogError."""
        raise self._closed()

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Raises LogError."""
        raise self._closed()

    def delete_topics(self, names: Iterable[str]) -> None:
        """Raises LogError."""
        raise self._closed()

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Raises LogError."""
        raise self._closed()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _closed(self) -> LogError:
        return LogError(f"{self._path} is an exported run: it can only be read")


class _Index:
    """Where each record of a partition is in the file; checks the partition's bytes when it is made."""

    def __init__(self, file: BinaryIO, path: Path, part: PartitionExtent, place: int, size: int) -> None:
        self.part = part
        self.offsets, self._places = array("q"), array("q")
        self._file = file
        state, at, previous = hashlib.sha256(), 0, part.begin - 1
        file.seek(place)
        while at < size:
            head = file.read(min(HEAD.size, size - at))
            offset, length = measure(head)
            if not previous < offset < part.end:
                raise DecodeError(f"{path}: offset {offset} of {part.topic} is out of order or out of bounds")
            if at + HEAD.size + length > size:
                raise DecodeError(f"{path}: the record at offset {offset} of {part.topic} is cut off")
            self.offsets.append(offset)
            self._places.append(place + at)
            state.update(head)
            for start in range(0, length, _PIECE_BYTES):
                state.update(file.read(min(_PIECE_BYTES, length - start)))
            at, previous = at + HEAD.size + length, offset
        if (len(self.offsets), size) != (part.records, part.nbytes) or state.hexdigest() != part.sha256:
            raise DecodeError(f"{path}: the records of {part.topic} are not those that the manifest states")

    def records(self, start: int, end: int) -> Iterator[Record]:
        """Those with offsets in [start, end)."""
        for number in range(bisect_left(self.offsets, start), bisect_left(self.offsets, end)):
            yield self.record(number)

    def record(self, number: int) -> Record:
        """The record of that number in the file; the file may have changed since, so DecodeError becomes LogError."""
        self._file.seek(self._places[number])
        try:
            return read_frame(self._file, self.part.topic, self.part.partition)
        except DecodeError as error:
            raise LogError(str(error)) from error


class FileCursor:
    """Implements `log.Cursor`."""

    def __init__(self, index: _Index, start: int) -> None:
        self._index, self._position = index, start

    @property
    def position(self) -> int:
        """See `log.Cursor`."""
        return self._position

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`; nothing new ever comes."""
        index = self._index
        if self._position < index.part.begin:
            raise UnreadableError(f"{index.part.topic} was exported from {index.part.begin}; {self._position} is gone")
        first = bisect_left(index.offsets, self._position)
        records: list[Record] = []
        held = 0
        for number in range(first, min(first + limit, len(index.offsets))):
            records.append(index.record(number))
            held += len(records[-1].value or b"")
            if held >= _HELD:
                break
        self._position = records[-1].offset + 1 if records else index.part.end
        return records

    def close(self) -> None:
        """Nothing to free."""
