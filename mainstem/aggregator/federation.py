"""One federation's aggregation over a message log: feeds the round machine, carries out its effects.

Whatever raises LogError here may be repeated from nothing: a new `Federation` resumes from the log.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from mainstem.aggregator.clocks import Clocks
from mainstem.aggregator.inbox import Inbox
from mainstem.aggregator.meters import Meters, Sight
from mainstem.aggregator.retention import Retention
from mainstem.aggregator.versions import VersionMaker
from mainstem.aggregator.witnesses import Guard
from mainstem.errors import OLDER, ConfigError, LogError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic, Entry, problem_of
from mainstem.protocol.log import MessageLog, Outgoing
from mainstem.protocol.messages import (
    Failed,
    Lifecycle,
    Opened,
    Progress,
    Round,
    Tick,
    Update,
    encode,
)
from mainstem.protocol.signing import PLATFORM_KEY_FILE, SigningKey, signed_by
from mainstem.protocol.topics import aggregator_topic
from mainstem.rounds import (
    Append,
    Check,
    Checked,
    Close,
    Effect,
    Event,
    Plan,
    Reduced,
    Reject,
    RoundMachine,
    Seen,
    Unreducible,
    events_of,
    successor,
)
from mainstem.rounds.progress import LONGEST, Failures, progress_of
from mainstem.runtime.clock import Clock
from mainstem.runtime.driver import drive

PROGRESS_MS = 1_000
"""At most one progress record in this time, and none while nothing changes."""

TURN = 1000
"""Records of one step: then commands and the deadline have their turn."""

START_MS = 50
"""A head's time starts so soon after it was followed, unless it has a successor by then: quick rounds need no ticks."""

TICK_MS = 250
"""At most one tick in this time."""

REFUSES = "It commits nothing: "
"""How a trouble begins that stands until a person has decided."""


class Federation:
    """Runs one federation until its run ends: call `step` again and again.

    `retain` is how many bytes of payloads stay in memory until they are judged; a quarter of it goes to checked
    updates, and as much to models. `spill` is how many bytes of checked updates a temporary file takes until their
    round closes, and half as many of those that wait to be judged; whatever does not fit is then read again from the
    log. `threads` fold at a time. While `waits` gives a reason, no round goes on. While `guard` objects to the log,
    nothing is followed or committed at all. What it writes it signs with the platform's `key`.
    """

    def __init__(
        self,
        log: MessageLog,
        federation: str,
        *,
        clock: Clock,
        writer: str,
        retain: int = 32 << 20,
        spill: int = 4 << 30,
        threads: int = 1,
        waits: Callable[[], str] = str,
        guard: Guard | None = None,
        key: SigningKey | None = None,
    ) -> None:
        self.federation = federation
        self._log, self._clock, self._writer = log, clock, writer
        self._retain, self._aside = retain, spill // 2
        self._key = key
        self._control = ControlTopic(log, federation, key=key)
        self.sight, self._meters = Sight(federation, time.monotonic()), Meters()
        self.machine = RoundMachine(writer)
        self._inbox: Inbox | None = None
        self._versions = VersionMaker(log, writer, memory=retain // 4, spill=spill, threads=threads)
        self._retention = Retention(log)
        self._clocks = Clocks(aggregator_topic(federation))
        self._ticked_ms = -TICK_MS
        self._told, self._told_ms = (-1, 0), 0
        self._failures = Failures()
        self._progress: tuple[int, Progress | None] = (-PROGRESS_MS, None)
        self.trouble = ""
        """What kept the one before this from going on, until the run has a new head."""
        self._waits, self._waiting = waits, ""
        self._guard = guard or Guard(federation)
        self._guard.begin()
        self._logger = logging.getLogger("mainstem.aggregator")

    # ------------------------------------------------------------ one turn
    def step(self, timeout: float = 0.2) -> bool:
        """Read, decide, act once; False when the run has ended. Raises LogError."""
        if self.machine.head is not None:
            self._follow(self._control.poll())
        elif not self._take_up():
            time.sleep(timeout)
            return True
        self._compare()
        head = self.machine.head
        if head is None:
            raise LogError(f"federation {self.federation} has no opened record yet")
        if head.ended:
            return False
        if self._must_wait():
            time.sleep(timeout)
        else:
            self._digest_what_came(head, timeout)
            self._tick()
        self._report()
        self._meters.refused(self.machine.round.refusals)
        self.sight.see(self.machine, self._progress[1], time.monotonic(), self._round_ms(), self._clocks.ahead_ms)
        return True

    def _take_up(self) -> bool:
        """Follow the log from its beginning, unless it is not the one that was witnessed: then a person must decide."""
        heard = self._guard.hear()
        if self._guard.waits or (self.sight.stands and not heard):
            return False
        if self.sight.stands:  # the right log may have taken the place of the one that was read
            self._control.close()
            self._control = ControlTopic(self._log, self.federation, key=self._key)
        entries = self._control.sync()
        self._check_key(entries)
        objection = self._guard.objection(self._control.hashes)
        self.sight.stands = bool(objection)
        if objection:
            trouble = f"{REFUSES}{objection}."
            if trouble != self.trouble:
                self._logger.error("federation %s: %s", self.federation, trouble)
                self.complain(trouble)
                self.trouble = trouble
            return False
        self.trouble = "" if self.trouble.startswith(REFUSES) else self.trouble
        self._follow(entries)
        return True

    def _check_key(self, entries: Sequence[Entry]) -> None:
        """Whether what this writes would count; raises ConfigError where it would not."""
        head, mine = self._control.head, self._key
        theirs = next((e.forged.platform for e in entries if isinstance(e.forged, Opened)), None) if not head else None
        named = head.opened.platform if head is not None else theirs
        if named is not None and (mine is None or mine.public != named):
            raise ConfigError(
                f"its records are signed by the platform {named}, and this process has "
                f"{'no key' if mine is None else f'the key {mine.public}'}: name that platform's in {PLATFORM_KEY_FILE}"
            )

    def _compare(self) -> None:
        """A witness that was silent when the run was taken up is heard as soon as it speaks. Raises LogError."""
        if not self._guard.answered and self._guard.hear():
            self._follow(self._control.sync())
            if objection := self._guard.objection(self._control.hashes):
                raise LogError(objection)
        self._guard.read(self._control.hashes)

    def _must_wait(self) -> bool:
        """As if no worker were here: only commands are answered. The log's time judges what came meanwhile."""
        waits = self._waits()
        if waits != self._waiting:
            self._waiting = waits
            self._logger.warning("federation %s: %s", self.federation, waits or "there is room again, rounds go on")
        return bool(waits)

    def _digest_what_came(self, head: Head, timeout: float) -> None:
        self._versions.model(head, head.base)  # which everyone starts from: whether it can be read is known at once
        if self._inbox is None:
            topic, spill = head.opened.topics.aggregator, self._versions.spill
            self._inbox = Inbox(self._log, topic, self._retain, spill, self._aside)
        self._inbox.trust(head)
        self._inbox.seek(self.machine.position)
        seen = self._inbox.peek(min(timeout, max(0, self._tick_ms() - self._clock.elapsed_ms()) / 1000))
        for _ in range(TURN):
            if seen is None or not self._digest(seen):
                break
            seen = self._inbox.peek(0)

    def _digest(self, seen: Seen) -> bool:
        """Feed one record; whether the next one may follow without a look at the head's position."""
        assert self._inbox is not None
        head = self.machine.head
        assert head is not None
        if isinstance(seen.record, Update) and seen.record.base.seq > head.base.seq:
            self._follow(self._control.sync())  # the client has read a commit that we have not
            if self.machine.head is not head:
                return False  # by which its signature is judged too
        self._feed(seen)
        taken = self.machine.position == seen.offset + 1
        if taken:
            self._inbox.take()
            self._clocks.read(seen)
            round_ = self.machine.round
            self._failures.hear(seen.offset, seen.record if round_.vouches(seen) else None, round_.roster)
        return taken and self.machine.head is head

    def complain(self, trouble: str) -> None:
        """Tell people what keeps this federation from going on, as far as its log takes anything. Raises LogError."""
        head = self._control.head
        if head is None or head.ended:
            return
        if self.machine.head is not None:
            record = progress_of(self.machine, self._round_ms(), self._failures, trouble)
        else:  # not even the head could be taken up
            record = Progress(
                federation=self.federation,
                phase="open" if head.round else "waiting",
                round=head.round + 1,
                needed=head.rules.min_clients,
                deadline_ms=None,
                members=(),
                detail=trouble[:LONGEST],
            )
        self._control.append(record)

    def close(self) -> None:
        """Free the readers."""
        self._control.close()
        if self._inbox is not None:
            self._inbox.close()
        self._versions.close()

    # ------------------------------------------------------------ the control topic
    def _follow(self, entries: Sequence[Entry]) -> None:
        for event in self._heed(entries):
            self._feed(event)

    def _feed(self, event: Event) -> None:
        drive(self.machine, event, self._act)

    def _heed(self, entries: Sequence[Entry]) -> list[Event]:
        """What new entries come to for the machine; a new head voids what was kept of the old one's round."""
        head = self._control.head
        if head is not None and any(entry.link for entry in entries):
            self._versions.begin(head)
            self._retention.see(head, entries)
            self.trouble = "" if self.machine.head is not None else self.trouble
        for entry in entries:
            if entry.problem is not None:
                level = logging.WARNING if entry.forged is not None else logging.INFO
                self._logger.log(level, "control record %d does not count: %s", entry.offset, entry.problem)
        return events_of(head, entries)

    # ------------------------------------------------------------ effects
    def _act(self, effect: Effect) -> list[Event]:
        match effect:
            case Check():
                return [Checked(effect.offset, self._check(effect))]
            case Close():
                return [self._reduce(effect.plan)]
            case Reject():
                self._control.append(effect.record)
                return []
            case Append():
                offset = self._control.append(self._writable(effect.record))
                entries = self._control.sync()
                if not any(entry.link for entry in entries):  # neither ours nor another's that came before it
                    raise LogError(f"{self._control.topic} does not hold record {offset} any more: {OLDER}")
                self._meters.appended(offset, entries)
                return self._heed(entries)

    def _writable(self, record: Lifecycle) -> Lifecycle:
        """The record, or in its place the end of a run that cannot commit it: no reader would take it, ever."""
        problem, head = problem_of(record), self.machine.head
        if problem is None:
            return record
        assert head is not None
        what = f"round {record.round}" if isinstance(record, Round) else f"the record {type(record).__name__.lower()!r}"
        return successor(head, Failed, {"detail": f"{what} cannot be committed: {problem}"})

    def _check(self, check: Check) -> RefusedError | None:
        assert self._inbox is not None and self.machine.head is not None
        try:
            refusal = self._versions.check(self.machine.head, check.offset, check.update, self._inbox.kept)
        finally:
            self._inbox.release(check.offset, check.update)
        if refusal is not None:
            self._logger.warning("update of %s refused: %s", check.update.client, refusal)
        return refusal

    def _reduce(self, plan: Plan) -> Reduced | Unreducible:
        """The plan's updates, reduced in the plan's order and published as the next version."""
        assert self._inbox is not None and self.machine.head is not None
        made = self._versions.make(self.machine.head, plan, self._inbox.kept)
        if isinstance(made, Reduced):
            self._retention.learn(plan.accepted, plan.updates)
            self._logger.info("round %d reduced from %d updates", self.machine.head.round + 1, len(plan.accepted))
        return made

    # ------------------------------------------------------------ time and people
    def _round_ms(self) -> int:
        """Round time now: what the log has told of it, and what has elapsed here since."""
        time_ = self.machine.round.time
        return time_.now_ms + (self._clock.elapsed_ms() - self._told_ms if time_.started else 0)

    def _tick_ms(self) -> float:
        """When the next tick is due, as elapsed time.

        The time of a head starts with one; then there is one where something may be due, and wherever the silence
        would soon be longer than counts.
        """
        wake = self.machine.wake_ms
        if wake is None:
            return math.inf
        time_ = self.machine.round.time
        wait = min(time_.step_ms // 2, max(0, wake - time_.now_ms)) if time_.started else START_MS
        return max(self._told_ms + wait, self._ticked_ms + TICK_MS)

    def _tick(self) -> None:
        now, round_ = self._clock.elapsed_ms(), self.machine.round
        time_, head = round_.time, round_.head
        if self._told != (time_.seq, time_.told):
            self._told, self._told_ms = (time_.seq, time_.told), now
        if now < self._tick_ms():
            return
        self._ticked_ms, wall = now, self._clock.now_ms()
        tick = Tick(writer=self._writer, seq=head.link.record.seq)
        topic = head.opened.topics.aggregator
        (offset,) = self._log.append(topic, [signed_by(self._key, topic, Outgoing(encode(tick)))])
        self._clocks.wrote(offset, wall)

    def _report(self) -> None:
        now = self._clock.elapsed_ms()
        last_ms, last = self._progress
        if now < last_ms + PROGRESS_MS or self.machine.head is None or self.machine.head.ended:
            return
        trouble = self._waiting or self.trouble or self._clocks.said(self.machine.round.time)
        current = progress_of(self.machine, self._round_ms(), self._failures, trouble)
        if current != last:
            self._control.append(current)
        self._progress = (now, current)
