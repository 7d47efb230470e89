"""What an aggregator notices of other clocks than its own. Nothing depends on it: it is said to people."""

from __future__ import annotations

from mainstem.protocol.messages import Tick
from mainstem.rounds import RoundTime, Seen

SKEWED_MS = 60_000
"""From here on two clocks are said to differ."""


class Clocks:
    """Compares the stamps of this aggregator's own ticks with its wall clock as it wrote them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._written: tuple[int, int] | None = None
        self._appended = True
        self.ahead_ms = 0
        """Milliseconds that the log's newest stamp was ahead of this machine's wall clock; below 0: behind it."""

    def wrote(self, offset: int, wall_ms: int) -> None:
        """A tick of one's own stands at `offset`; the wall clock as it was written."""
        self._written = (offset, wall_ms)

    def read(self, seen: Seen) -> None:
        """Take in the next record of the topic."""
        if isinstance(seen.record, Tick) and self._written is not None and seen.offset == self._written[0]:
            self.ahead_ms, self._appended = seen.time_ms - self._written[1], seen.appended

    def said(self, time: RoundTime) -> str:
        """What is wrong with the clocks, in a sentence for people; empty where nothing is."""
        if not self._appended:
            return (
                f"{self._topic} takes the stamps of whoever writes to it, so only the aggregator's ticks tell time: "
                "set message.timestamp.type=LogAppendTime on it"
            )
        if abs(self.ahead_ms) >= SKEWED_MS:
            way = "ahead of" if self.ahead_ms > 0 else "behind"
            seconds = round(abs(self.ahead_ms), -4) // 1000  # to ten seconds: drift alone is no news
            return (
                f"Kafka's clock is {seconds} s {way} this aggregator's: deadlines are kept all the same, "
                "but the times shown are Kafka's; set the clocks of both machines by NTP"
            )
        if time.back is not None:
            offset, back = time.back
            return (
                f"the log's time went back by {back / 1000:.0f} s at offset {offset} of {self._topic}: a broker's "
                "clock was set, or a record was stamped ahead; deadlines go on by what passes from record to record"
            )
        return ""
