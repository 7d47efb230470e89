"""Round time: counted from stamp to stamp of the aggregator topic, so that no clock that is wrong stops or races it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Member, Rules, Tick
from mainstem.rounds.events import Seen

SHORTEST_STEP_MS = 1_000
"""Two records that follow each other always count for up to so much: where rules are short, ticks are rare."""


def longest_step(rules: Rules) -> int:
    """Milliseconds that two records, one after the other, count for at most.

    A quarter of the shortest time that the rules name: what one wrong stamp takes from any of them at the most.
    """
    shortest = min(rules.deadline_ms, rules.wait_limit_ms, rules.final_wait_ms, rules.heartbeat_timeout_ms)
    return max(SHORTEST_STEP_MS, shortest // 4)


@dataclass
class RoundTime:
    """The time of one head, in milliseconds: `now_ms` begins at the head's own stamp, whatever that is.

    It stands still until the first tick that names the head by its `seq`: what was written before does not count.
    From there on it advances with each record that tells time, by what that is stamped later than the one before if
    the same clock stamped both, at least 0 and at most `step_ms`. The broker's clock stamps what bears its append
    time. On a topic that takes its writers' stamps (CreateTime) only ticks tell time, each by its writer's clock.
    """

    seq: int = -1
    now_ms: int = 0
    step_ms: int = SHORTEST_STEP_MS
    started: bool = False
    clock: str = ""
    stamp_ms: int = 0
    told: int = 0
    """How many records have told time."""
    back: tuple[int, int] | None = None
    """(offset, milliseconds) of the newest stamp that lies further behind the one before it than a step."""

    @staticmethod
    def of(head: Head) -> RoundTime:
        """The time of a head, before anything was read under it."""
        return RoundTime(head.link.record.seq, head.since_ms, longest_step(head.rules))

    def see(self, seen: Seen) -> None:
        """Take in the stamp of the next record."""
        tick = seen.record if isinstance(seen.record, Tick) else None
        if not self.started and (tick is None or tick.seq != self.seq):
            return
        if tick is None and not seen.appended:
            return  # its writer chose the stamp
        clock = "" if seen.appended or tick is None else tick.writer
        if self.started and clock == self.clock:
            passed = seen.time_ms - self.stamp_ms
            self.now_ms += min(max(passed, 0), self.step_ms)
            if passed < -self.step_ms:
                self.back = (seen.offset, -passed)
        self.started, self.clock, self.stamp_ms = True, clock, seen.time_ms
        self.told += 1

    def heard_ms(self, seen: Seen) -> int:
        """When a record was written, in round time: what was written before the head, at its stamp."""
        return self.now_ms if self.started else min(self.now_ms, seen.time_ms)


def since(members: Iterable[Member], snapshot_ms: int, since_ms: int) -> Iterable[Member]:
    """The members of a snapshot as seen from a head: where the clock went back between them, so do their times."""
    back = snapshot_ms - since_ms
    if back <= 0:
        return members
    return [msgspec.structs.replace(member, last_ms=member.last_ms - back) for member in members]
