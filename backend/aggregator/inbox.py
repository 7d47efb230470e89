"""Partition 0 of a federation's aggregator topic, record by record, with the chunks that pass by kept for a while."""

from __future__ import annotations

from collections import OrderedDict, deque

from mainstem.errors import OLDER, DecodeError, UnreadableError
from mainstem.messages import ClientRecord, Update, Weights, decode_client, sha256
from mainstem.ports import Cursor, MessageLog, Record
from mainstem.rounds import Seen
from mainstem.weights import is_chunk


class Inbox:
    """Reads forward; `peek` shows the next deciding record, `take` goes past it.

    Chunks are kept, oldest dropped first, up to `budget` bytes: an update's manifest mostly follows its chunks, so
    they need not be fetched again.
    """

    def __init__(self, log: MessageLog, topic: str, budget: int) -> None:
        self._log, self._topic, self._budget = log, topic, budget
        self._cursor: Cursor | None = None
        self._waiting: deque[Record] = deque()
        self._held = 0
        self.chunks: OrderedDict[tuple[int, int], Record] = OrderedDict()
        self.position = -1

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
                if is_chunk(record.headers):
                    self._hold(record)
                else:
                    self._waiting.append(record)
        return self._seen(self._waiting[0]) if self._waiting else None

    def take(self) -> None:
        """Go past the record that `peek` showed."""
        self.position = self._waiting.popleft().offset + 1

    def release(self, weights: Weights) -> None:
        """Forget the chunks of an update that was read."""
        for run in weights.chunks:
            for offset in range(run.first, run.first + run.count):
                record = self.chunks.pop((run.partition, offset), None)
                self._held -= len(record.value or b"") if record is not None else 0

    def close(self) -> None:
        """Free the reader and all that it holds."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
        self._waiting.clear()
        self.chunks.clear()
        self._held = 0

    def _hold(self, record: Record) -> None:
        self.chunks[record.partition, record.offset] = record
        self._held += len(record.value or b"")
        while self._held > self._budget:
            _, oldest = self.chunks.popitem(last=False)
            self._held -= len(oldest.value or b"")

    @staticmethod
    def _seen(record: Record) -> Seen:
        decoded: ClientRecord | None = None
        problem = ""
        try:
            decoded = decode_client(record.value)
        except DecodeError as error:
            problem = str(error)
        hash_ = sha256(record.value) if isinstance(decoded, Update) and record.value is not None else ""
        return Seen(record.offset, record.timestamp_ms, decoded, problem, hash_, record.appended)
