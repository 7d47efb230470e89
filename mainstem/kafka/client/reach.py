"""How far partitions were seen to reach: an end that comes back, a client that no longer hears of the end. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from mainstem.kafka.client.cursor import STILL_LOOKS

Place = tuple[str, int]
"""Topic, partition."""

Offsets = Mapping[Place, int]
"""Negative where it is not known."""


class EndOffsets:
    """What was read, and what earlier looks have seen. `ends` is where partitions end by the broker, asked now."""

    def __init__(self) -> None:
        self._seen: dict[Place, int] = {}
        self._deaf: dict[Place, int] = {}

    def read(self, topic: str, partition: int, offset: int) -> None:
        """A record at that offset was read."""
        self._seen[topic, partition] = max(offset + 1, self._seen.get((topic, partition), 0))

    def shorter(self, ends: Offsets, *others: Offsets) -> dict[Place, tuple[int, int]]:
        """Partitions that end before what one of the `others` tells, or was seen earlier: (end, seen)."""
        found: dict[Place, tuple[int, int]] = {}
        for place, end in ends.items():
            seen = max(self._seen.get(place, 0), *(other.get(place, 0) for other in others))
            if end < seen:
                found[place] = end, seen
            self._seen[place] = max(end, seen)
        return found

    def deaf(self, ends: Offsets, heard: Offsets) -> bool:
        """Whether the client, which last `heard` of these ends, has lagged behind them in one look after the other.

        librdkafka goes deaf where a broker came back with a smaller leader epoch than it knows: it takes that for
        outdated metadata, and asks no more.
        """
        late = {place for place, end in ends.items() if heard.get(place, -1) < end}
        self._deaf = {place: self._deaf.get(place, 0) + 1 for place in late}
        return any(looks >= STILL_LOOKS for looks in self._deaf.values())
