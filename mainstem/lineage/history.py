"""A run's chain from its control topic, with what in that topic cannot be: the traces of a record changed or lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mainstem.errors import LogError
from mainstem.protocol.chain import Chain, Head, Link
from mainstem.protocol.changes import Way, is_whole
from mainstem.protocol.control import ControlTopic, Entry
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Finished, Lifecycle, Opened, Paged, Round


@dataclass(frozen=True, slots=True)
class Stray:
    """A record of the control topic that no honest writer left there.

    `version` and `sha256` are those that it claims to set or to end with, where it does.
    """

    offset: int
    detail: str
    version: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """A run as its control topic tells it. `head` is the newest one, `forged` how many records the platform, which
    `opened` names, has not signed: they count for nothing."""

    opened: Opened
    links: tuple[Link, ...]
    head: Head
    strays: tuple[Stray, ...]
    forged: int = 0

    @property
    def hashes(self) -> tuple[str, ...]:
        """The sha256 of each record of the chain, the oldest first."""
        return tuple(link.hash for link in self.links)

    def way(self, version: int) -> Way | None:
        """How a version is read, whether the run's model descends from it or not; None where no round made it."""
        if version == 0:
            return Way(self.opened.weights)
        for head, record in self.steps():
            if isinstance(record, Round) and record.version == version:
                if is_whole(record.weights):
                    return Way(record.weights)
                before = head.way(head.base.version)
                assert before is not None
                return Way(before.whole, (*before.steps, record.weights))
        return None

    def steps(self) -> Iterator[tuple[Head, Lifecycle]]:
        """Each record after `opened`, with the head that it follows."""
        chain = Chain()
        for link in self.links:
            if chain.head is not None:
                yield chain.head, link.record
            chain.offer(link)


def read_history(log: MessageLog, federation: str) -> History:
    """The whole control topic; raises LogError where it cannot be read, or holds no run."""
    control = ControlTopic(log, federation)
    try:
        entries = control.sync()
        head = control.head
    finally:
        control.close()
    links = tuple(entry.link for entry in entries if entry.link is not None)
    if head is None:
        told = next((f": {entry.problem}" for entry in entries if isinstance(entry.forged, Opened | Paged)), "")
        raise LogError(f"federation {federation} has no opened record{told}")
    chain = Chain()
    models: dict[str, tuple[int, str] | None] = {"": None}
    for link in links:
        chain.offer(link)
        assert chain.head is not None
        models[link.hash] = (chain.head.base.version, chain.head.weights.sha256)
    strays = [stray for entry in entries if (stray := _stray(entry, federation, models)) is not None]
    strays += [stray for entry in entries if (stray := _unsigned(entry, head)) is not None]
    return History(head.opened, links, head, tuple(strays), sum(entry.forged is not None for entry in entries))


def _unsigned(entry: Entry, head: Head) -> Stray | None:
    """A record that would follow the head, were it signed: it was forged there, or has lost its signature."""
    record, last = entry.forged, head.link
    if not isinstance(record, Lifecycle) or (record.seq, record.prev) != (last.record.seq + 1, last.hash):
        return None
    kind = record.kind if isinstance(record, Paged) else str(type(record).__struct_config__.tag)
    detail = f"control record {entry.offset} ({kind}) would follow the last one, but {entry.problem}"
    weights = getattr(record, "weights", None)
    return Stray(entry.offset, detail, getattr(record, "version", None), weights.sha256 if weights is not None else "")


def _stray(entry: Entry, federation: str, models: Mapping[str, tuple[int, str] | None]) -> Stray | None:
    """A writer that lost a race, however late it wakes, has named a record of the chain as its predecessor.

    `models` has version and sha256 of the head's model by the hash of each record of the chain.
    """
    record = entry.record
    if record is None:
        return Stray(entry.offset, f"control record {entry.offset} is not readable: {entry.problem}")
    if entry.link is not None or not isinstance(record, Lifecycle):
        return None
    kind = str(type(record).__struct_config__.tag)
    version = getattr(record, "version", None)
    weights = getattr(record, "weights", None)
    sha256 = weights.sha256 if weights is not None else str(getattr(record, "sha256", ""))
    if record.federation != federation:
        detail = f"control record {entry.offset} ({kind}) names another federation, {record.federation[:20]!r}"
        return Stray(entry.offset, detail, version, sha256)
    if record.prev not in models:
        detail = f"control record {entry.offset} ({kind}) follows a record that was changed or is missing"
        return Stray(entry.offset, detail, version, sha256)
    if isinstance(record, Finished) and models[record.prev] != (version, sha256):
        detail = f"control record {entry.offset} ({kind}) names another model than the record that it follows"
        return Stray(entry.offset, detail, version, sha256)
    return None
