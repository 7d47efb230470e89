"""Partition 0 of a federation's aggregator topic, record by record, with the payloads that pass by kept for a while."""

from __future__ import annotations

import contextlib
from collections import ChainMap, OrderedDict, deque

from mainstem.aggregation.aside import Aside, PassingRecord, Place, places
from mainstem.aggregation.spill import Spill
from mainstem.errors import OLDER, DecodeError, SpillError, UnreadableError
from mainstem.protocol import signing
from mainstem.protocol.chain import Head
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.log import Cursor, MessageLog, Record
from mainstem.protocol.messages import ClientRecord, Tick, Unknown, Update, sha256
from mainstem.protocol.packing import decode, has_payload, lean, signer_of, text_of
from mainstem.rounds import Seen


class Inbox:
    """Reads forward; `peek` shows the next deciding record, `take` goes past it.

    Chunks and packed updates are kept, since an update's manifest mostly follows its chunks: up to `budget` bytes of
    them in memory, the older ones in `spill`, `aside` bytes at most.
    """

    def __init__(self, log: MessageLog, topic: str, budget: int, spill: Spill, aside: int) -> None:
        self._log, self._topic, self._budget = log, topic, budget
        self._cursor: Cursor | None = None
        self._waiting: deque[Record] = deque()
        self._held = 0
        self._recent: OrderedDict[Place, Record] = OrderedDict()
        self._aside = Aside(spill)
        self._aside.most = aside
        self.kept: ChainMap[Place, Record | PassingRecord] = ChainMap(self._recent, self._aside)  # type: ignore[arg-type]
        self.position = -1
        self._trusted: Head | None = None
        self._sites: dict[bytes, str] | None = None
        self._platform: str | None = None

    def trust(self, head: Head) -> None:
        """Judge signatures by the keys that the head's run names."""
        if head is self._trusted:
            return
        rules = head.rules.admission
        self._sites = signing.by_id(site.key for site in rules.sites) if rules.mode == "enrolled" else None
        self._platform, self._trusted = head.opened.platform, head

    def seek(self, position: int) -> None:
        """Go on from `position`; does nothing where the reader stands there already.

        Raises UnreadableError where the topic does not reach so far, or begins behind it; LogError.
        """
        if self.position == position:
            return
        first, end = self._log.bounds(self._topic, 0)
        if not first <= position <= end:
            raise UnreadableError(
                f"the run is to be read on from offset {position} of {self._topic}, which holds {first} to {end}: "
                f"{OLDER if position > end else 'records were deleted'}; restart it as a new deployment"
            )
        self.close()
        self._cursor = self._log.cursor(self._topic, 0, position)
        self.position = position

    def peek(self, timeout: float) -> Seen | None:
        """The next deciding record, waiting at most `timeout` seconds for it; raises LogError."""
        if not self._waiting and self._cursor is not None:
            for record in self._cursor.poll(timeout):
                chunk = is_chunk(record.headers)
                if chunk or has_payload(record.headers):
                    self._hold(record)
                if not chunk:
                    self._waiting.append(lean(record))
        return self._seen(self._waiting[0]) if self._waiting else None

    def take(self) -> None:
        """Go past the record that `peek` showed."""
        self.position = self._waiting.popleft().offset + 1

    def release(self, offset: int, update: Update) -> None:
        """Forget the payload of an update that was read; its record stands at `offset`."""
        for place in places(offset, update):
            record = self._recent.pop(place, None)
            self._held -= len(record.value or b"") if record is not None else 0
        self._aside.release(offset, update)

    def close(self) -> None:
        """Free the reader and all that it holds."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
        self._waiting.clear()
        self._recent.clear()
        self._aside.clear()
        self._held = 0

    def _hold(self, record: Record) -> None:
        self._recent[record.partition, record.offset] = record
        self._held += len(record.value or b"")
        while self._held > self._budget:
            _, oldest = self._recent.popitem(last=False)
            self._held -= len(oldest.value or b"")
            with contextlib.suppress(SpillError):  # a full disk: the log has it
                self._aside.put(oldest)

    def _seen(self, record: Record) -> Seen:
        decoded: ClientRecord | Unknown | None = None
        problem = signer = ""
        try:
            decoded = decode(record)
        except DecodeError as error:
            problem = str(error)
        if isinstance(decoded, Tick):
            decoded = decoded if self._is_platforms(record) else Unknown(schema=decoded.schema, type="tick")
        elif decoded is not None and self._sites is not None:
            signer, problem = signer_of(record, self._sites)
        text = text_of(record) if isinstance(decoded, Update) else None
        hash_ = "" if text is None else sha256(text)
        return Seen(record.offset, record.timestamp_ms, decoded, problem, hash_, record.appended, signer)

    def _is_platforms(self, record: Record) -> bool:
        key, value = self._platform, record.value or b""
        return key is None or signing.signed(record.headers, record.topic, value, key)
