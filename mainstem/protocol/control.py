"""A federation's control topic: append records (long ones in pages), read them into the chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mainstem.errors import OLDER, DecodeError, LogError, UnreadableError
from mainstem.protocol import signing
from mainstem.protocol.chain import Chain, Head, Link
from mainstem.protocol.log import Cursor, MessageLog, Outgoing, Record
from mainstem.protocol.messages import (
    ControlRecord,
    Lifecycle,
    Opened,
    Page,
    Paged,
    PageRef,
    Topics,
    Unknown,
    decode_control,
    decode_paged,
    encode,
    sha256,
)
from mainstem.protocol.signing import SigningKey
from mainstem.protocol.topics import AGGREGATOR_PREFIX, CONTROL_RECORD_LIMIT, FEDERATION_PREFIX, control_topic

PAGES_HELD = 4096
"""Pages of records that never came (their writer died) are forgotten beyond this many."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A control record as read. `link` where it is a lifecycle record that took its place in the chain.

    `problem` says why a record counts for nothing: superseded, not decodable (then `record` is None), or not signed by
    the platform: then it is as one of an unknown type, which decides nothing by itself, and `forged` is what it says.
    """

    offset: int
    timestamp_ms: int
    record: ControlRecord | Unknown | None
    link: Link | None = None
    problem: str | None = None
    forged: ControlRecord | Unknown | None = None


class ControlReader:
    """Turns raw records, in order, into entries; resolves pages and keeps the chain. No I/O.

    Nothing counts but what is signed with the `platform` key: where none is given, with the one that the run's opening
    names, if it names one. Pages are the exception, which their signed record names by their hashes.
    """

    def __init__(self, federation: str, platform: str | None = None) -> None:
        self._federation, self._platform = federation, platform
        self._topic = control_topic(federation)
        self._pages: dict[int, tuple[str, str]] = {}
        self.chain = Chain()

    @property
    def platform(self) -> str | None:
        """The public key whose holder's records count; None where anybody's do."""
        head = self.chain.head
        return self._platform if self._platform is not None or head is None else head.opened.platform

    def feed(
        self, offset: int, timestamp_ms: int, value: bytes | None, headers: Mapping[str, bytes] = MappingProxyType({})
    ) -> Entry:
        """The next record of the topic."""
        try:
            said = record = decode_control(value)
            assert value is not None
            hash_ = sha256(value)
            if isinstance(record, Page):
                self._hold(offset, hash_, record.data)
                return Entry(offset, timestamp_ms, record)
            if (forged := self._forged(record, value, headers)) is not None:
                return Entry(offset, timestamp_ms, _nothing(record), problem=forged, forged=record)
            if isinstance(record, Paged):
                record = self._resolve(record)
                if (forged := self._forged(record, value, headers)) is not None:
                    return Entry(offset, timestamp_ms, _nothing(record), problem=forged, forged=record)
        except DecodeError as error:
            return Entry(offset, timestamp_ms, None, problem=str(error))
        if not isinstance(record, Lifecycle):
            return Entry(offset, timestamp_ms, record)
        if isinstance(record, Opened) and record.topics != topics_of(record.federation):
            return Entry(offset, timestamp_ms, record, problem=f"its topics are not those of {record.federation[:20]}")
        link = Link(offset, timestamp_ms, hash_, record)
        if record.federation == self._federation and self.chain.offer(link):
            if isinstance(said, Paged):
                for ref in said.pages:
                    self._pages.pop(ref.offset, None)
            return Entry(offset, timestamp_ms, record, link=link)
        return Entry(offset, timestamp_ms, record, problem="superseded: it does not follow the head")

    def _forged(self, record: ControlRecord | Unknown, value: bytes, headers: Mapping[str, bytes]) -> str | None:
        """Why a record is not the platform's; None where it is, or need not be."""
        key = self.platform
        if key is None and self.chain.head is None and isinstance(record, Opened):
            key = record.platform
        if key is None or signing.signed(headers, self._topic, value, key):
            return None
        found = signing.named(headers)
        how = "it is not signed" if found is None else f"its signature (of key {found.hex()}) is not the platform's"
        return f"{how}: this run's records are signed with the key {key} (id {signing.key_id(key).hex()})"

    def _hold(self, offset: int, hash_: str, data: str) -> None:
        self._pages[offset] = (hash_, data)
        while len(self._pages) > PAGES_HELD:
            del self._pages[next(iter(self._pages))]

    def _resolve(self, paged: Paged) -> ControlRecord | Unknown:
        held = [self._pages.get(ref.offset) for ref in paged.pages]
        if any(page is None or page[0] != ref.sha256 for page, ref in zip(held, paged.pages, strict=True)):
            raise DecodeError("a page that the record names is not there or has another hash")
        text = "".join(page[1] for page in held if page).encode()
        if sha256(text) != paged.sha256:
            raise DecodeError("the record's pages do not hash to its sha256")
        record = decode_paged(text)
        same = isinstance(record, Lifecycle) and (record.federation, record.seq, record.prev) == (
            paged.federation,
            paged.seq,
            paged.prev,
        )
        if not same:
            raise DecodeError("the record's pages hold another record")
        return record


class ControlTopic:
    """The control topic of one federation over a message log.

    With the platform's `key` it signs what it appends; with its public one, `platform` or that key's, it reads what is
    signed with it alone.
    """

    def __init__(
        self, log: MessageLog, federation: str, *, platform: str | None = None, key: SigningKey | None = None
    ) -> None:
        self.topic = control_topic(federation)
        self._log, self._key = log, key
        self._reader = ControlReader(federation, key.public if key is not None else platform)
        self._cursor: Cursor | None = None

    @property
    def head(self) -> Head | None:
        """The chain's head as far as it was read."""
        return self._reader.chain.head

    @property
    def hashes(self) -> Sequence[str]:
        """The sha256 of each record of the chain, as far as it was read."""
        return self._reader.chain.hashes

    @property
    def position(self) -> int:
        """The next offset to read."""
        return self._cursor.position if self._cursor else 0

    def poll(self, timeout: float = 0.0) -> list[Entry]:
        """New entries, waiting at most `timeout` seconds for the first; raises LogError."""
        if self._cursor is None:
            self._cursor = self._log.cursor(self.topic, 0, 0)
        return self._feed(self._cursor.poll(timeout))

    def sync(self, timeout: float = 30.0) -> list[Entry]:
        """All entries up to the topic's present end; raises LogError where it is not reached in time.

        UnreadableError where the topic no longer is the one that was read so far.
        """
        if self._cursor is None:
            self._cursor = self._log.cursor(self.topic, 0, 0)
        _, end = self._log.bounds(self.topic, 0)
        if end < self._cursor.position:
            raise UnreadableError(f"{self.topic} ends at offset {end}, before {self._cursor.position}: {OLDER}")
        entries: list[Entry] = []
        while self._cursor.position < end:
            before = self._cursor.position
            records = self._cursor.poll(timeout)
            if self._cursor.position == before:
                raise LogError(f"{self.topic} could not be read up to offset {end} within {timeout:g} s")
            entries += self._feed(records)
        return entries

    def append(self, record: ControlRecord | Lifecycle) -> int:
        """Append, in pages where it is too long for one record; the record's offset. Raises LogError."""
        value = encode(record)
        if len(value) > CONTROL_RECORD_LIMIT and isinstance(record, Lifecycle):
            value = self._append_pages(record, value)
        return self._log.append(self.topic, [signing.signed_by(self._key, self.topic, Outgoing(value))])[0]

    def _append_pages(self, record: Lifecycle, value: bytes) -> bytes:
        pages = [encode(Page(data=piece)) for piece in _pieces(value.decode())]
        offsets = self._log.append(self.topic, [Outgoing(page) for page in pages])
        refs = tuple(PageRef(offset=o, sha256=sha256(p)) for o, p in zip(offsets, pages, strict=True))
        kind = str(type(record).__struct_config__.tag)
        paged = Paged(
            federation=record.federation,
            seq=record.seq,
            prev=record.prev,
            kind=kind,
            pages=refs,
            sha256=sha256(value),
        )
        return encode(paged)

    def _feed(self, records: Iterable[Record]) -> list[Entry]:
        entries = [self._reader.feed(r.offset, r.timestamp_ms, r.value, r.headers) for r in records]
        if any(isinstance(entry.record, Lifecycle) and entry.link is None for entry in entries):
            self._look_back()
        return entries

    def _look_back(self) -> None:
        """A record does not follow the head: is it another writer's, or is ours the head of another history?"""
        head = self.head
        if head is None:
            return
        at = head.link.offset
        found = next(self._log.read(self.topic, 0, at, at + 1), None)
        if found is None or found.value is None or sha256(found.value) != head.link.hash:
            raise UnreadableError(f"{self.topic} holds another record at offset {at} than was read there: {OLDER}")

    def close(self) -> None:
        """Free the reader."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None


def problem_of(record: ControlRecord | Lifecycle) -> str | None:
    """Why every reader would refuse this record, which nobody has written yet; None where none would."""
    try:
        decode_paged(encode(record))
    except DecodeError as error:
        return str(error)
    return None


def topics_of(federation: str) -> Topics:
    """Where a federation's records stand: no record's word is taken for it."""
    return Topics(
        control=f"{FEDERATION_PREFIX}{federation}-model_control_topic",
        data=f"{FEDERATION_PREFIX}{federation}-model_data_topic",
        aggregator=f"{AGGREGATOR_PREFIX}{federation}",
    )


def _nothing(record: ControlRecord | Unknown) -> Unknown:
    kind = record.type if isinstance(record, Unknown) else str(type(record).__struct_config__.tag)
    return Unknown(schema=record.schema, type=kind)


def _pieces(text: str) -> list[str]:
    # JSON in JSON escapes: six bytes a character at worst
    size = CONTROL_RECORD_LIMIT // 6
    return [text[start : start + size] for start in range(0, len(text), size)]
