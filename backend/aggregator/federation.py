"""One federation's aggregation over a message log: feeds the round machine, carries out its effects.

Whatever raises LogError here may be repeated from nothing: a new `Federation` resumes from the log.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

from backend.aggregator.clocks import Clocks
from backend.aggregator.inbox import Inbox
from backend.aggregator.kept import Kept
from backend.aggregator.meters import Meters, Sight
from backend.aggregator.models import Models
from backend.aggregator.retention import Retention
from mainstem import blocks, strategies, updates
from mainstem.chain import Head
from mainstem.control import ControlTopic, Entry, problem_of
from mainstem.errors import OLDER, AggregationError, LogError, RefusedError, UnknownTopicError, UnreadableError
from mainstem.messages import (
    Accepted,
    Base,
    Command,
    Failed,
    Lifecycle,
    Progress,
    Reason,
    Rejected,
    Round,
    Tick,
    Update,
    Weights,
    encode,
)
from mainstem.ports import Clock, MessageLog, Outgoing
from mainstem.progress import LONGEST, Failures, progress_of
from mainstem.reduction import moved, reduce, reduce_in_blocks
from mainstem.rounds import (
    Append,
    Check,
    Checked,
    Close,
    Commanded,
    Effect,
    Followed,
    Plan,
    Reduced,
    Reject,
    RoundMachine,
    Seen,
    Unreducible,
    successor,
)
from mainstem.topics import aggregator_topic
from mainstem.weights import Limits, Tensor, check_finite, fits

PROGRESS_MS = 1_000
"""At most one progress record in this time, and none while nothing changes."""

TURN = 1000
"""Records of one step: then commands and the deadline have their turn."""

START_MS = 50
"""A head's time starts so soon after it was followed, unless it has a successor by then: quick rounds need no ticks."""

TICK_MS = 250
"""At most one tick in this time."""


class Federation:
    """Runs one federation until its run ends: call `step` again and again.

    `retain` is how many bytes of chunks stay in memory until their manifest comes; a quarter of it goes to checked
    updates, and as much to models. `spill` is how many bytes of checked updates a temporary file takes. Whatever does
    not fit is read again from the log. `threads` fold at a time. While `waits` gives a reason, no round goes on.
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
    ) -> None:
        self.federation = federation
        self._log, self._clock, self._writer = log, clock, writer
        self._retain, self._spill, self._threads = retain, spill, threads
        self._control = ControlTopic(log, federation)
        self.sight, self._meters = Sight(federation, time.monotonic()), Meters()
        self.machine = RoundMachine(writer)
        self._inbox: Inbox | None = None
        self._checked: Kept | None = None
        self._models = Models(log)
        self._retention = Retention(log)
        self._clocks = Clocks(aggregator_topic(federation))
        self._ticked_ms = -TICK_MS
        self._told, self._told_ms = (-1, 0), 0
        self._failures = Failures()
        self._progress: tuple[int, Progress | None] = (-PROGRESS_MS, None)
        self.trouble = ""
        """What kept the one before this from going on, until the run has a new head."""
        self._waits, self._waiting = waits, ""
        self._logger = logging.getLogger("mainstem.aggregator")

    # ------------------------------------------------------------ one turn
    def step(self, timeout: float = 0.2) -> bool:
        """Read, decide, act once; False when the run has ended. Raises LogError."""
        self._follow(self._control.sync() if self.machine.head is None else self._control.poll())
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
        self._meters.refused(self.machine)
        self.sight.see(self.machine, self._progress[1], time.monotonic(), self._round_ms(), self._clocks.ahead_ms)
        return True

    def _must_wait(self) -> bool:
        """As if no worker were here: only commands are answered. The log's time judges what came meanwhile."""
        waits = self._waits()
        if waits != self._waiting:
            self._waiting = waits
            self._logger.warning("federation %s: %s", self.federation, waits or "there is room again, rounds go on")
        return bool(waits)

    def _digest_what_came(self, head: Head, timeout: float) -> None:
        self._model(head, head.base)  # which everyone starts from: whether it can be read is known at once
        if self._inbox is None:
            self._inbox = Inbox(self._log, head.opened.topics.aggregator, self._retain)
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
            if self.machine.position != self._inbox.position or self.machine.phase == "ended":
                return False
        self._act(self.machine.handle(seen))
        taken = self.machine.position == seen.offset + 1
        if taken:
            self._inbox.take()
            self._clocks.read(seen)
            self._failures.hear(seen.offset, seen.record, self.machine.roster)
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
        if self._checked is not None:
            self._checked.close()

    # ------------------------------------------------------------ the control topic
    def _follow(self, entries: Sequence[Entry]) -> None:
        """Feed the newest head, then the commands that it has not answered."""
        head = self._control.head
        if head is not None and any(entry.link for entry in entries):
            if self._checked is None:
                self._checked = Kept(head.opened.weights.tensors, self._retain // 4, self._spill)
            self._checked.clear()
            self._retention.see(head, entries)
            self.trouble = "" if self.machine.head is not None else self.trouble
            self._act(self.machine.handle(Followed(head)))
        rejected = {entry.record.command for entry in entries if isinstance(entry.record, Rejected)}
        for command in rejected:
            self.machine.rejected(command)
        for entry in entries:
            if isinstance(entry.record, Command) and entry.offset not in rejected:
                self._act(self.machine.handle(Commanded(entry.offset, entry.record)))
            elif entry.problem is not None:
                self._logger.info("control record %d does not count: %s", entry.offset, entry.problem)

    # ------------------------------------------------------------ effects
    def _act(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Check():
                    self._act(self.machine.handle(Checked(effect.offset, self._check(effect))))
                case Close():
                    self._act(self.machine.handle(self._reduce(effect.plan)))
                case Reject():
                    self._control.append(effect.record)
                case Append():
                    offset = self._control.append(self._writable(effect.record))
                    entries = self._control.sync()
                    if not any(entry.link for entry in entries):  # neither ours nor another's that came before it
                        raise LogError(f"{self._control.topic} does not hold record {offset} any more: {OLDER}")
                    self._meters.appended(offset, entries)
                    self._follow(entries)

    def _writable(self, record: Lifecycle) -> Lifecycle:
        """The record, or in its place the end of a run that cannot commit it: no reader would take it, ever."""
        problem, head = problem_of(record), self.machine.head
        if problem is None:
            return record
        assert head is not None
        what = f"round {record.round}" if isinstance(record, Round) else f"the record {type(record).__name__.lower()!r}"
        return successor(head, Failed, {"detail": f"{what} cannot be committed: {problem}"})

    def _check(self, check: Check) -> RefusedError | None:
        assert self._inbox is not None and self.machine.head is not None and self._checked is not None
        weights = check.update.weights
        try:
            tensors = self._tensors(weights)
            check_finite(weights.tensors, tensors)
            self._check_moved(self.machine.head, check.update, tensors)
        except RefusedError as refusal:
            self._logger.warning("update of %s refused: %s", check.update.client, refusal)
            return refusal
        except UnknownTopicError:
            raise  # nothing is known of this update: the topic went, or the cluster just starts
        except UnreadableError as error:
            self._logger.warning("update of %s refused: %s", check.update.client, error)
            return RefusedError(Reason.MISSING_CHUNKS, f"its chunks cannot be read: {error}")
        finally:
            self._inbox.release(weights)
        self._checked.put(check.offset, tensors)
        return None

    def _check_moved(self, head: Head, update: Update, tensors: Sequence[Tensor]) -> None:
        """A late update counts as what it changed, done to the head's model: that must be numbers too."""
        if update.base == head.base:
            return
        result = moved(self._model(head, head.base), tensors, self._model(head, update.base))
        for spec, tensor in zip(update.weights.tensors, result, strict=True):
            if not fits(spec.dtype, tensor):
                raise RefusedError(
                    Reason.NOT_FINITE,
                    f"tensor {spec.name!r}, moved from version {update.base.version} to version {head.base.version}, "
                    f"leaves the numbers of {spec.dtype}",
                )

    def _model(self, head: Head, base: Base) -> list[Tensor]:
        weights = head.model(base.version)
        assert weights is not None, "only updates of the head's ancestors are accepted"
        self._models.budget = 0 if head.rules.mode == "sync" else self._retain // 4
        return self._models.get(head.opened.topics.data, weights, base.version)

    def _tensors(self, weights: Weights) -> list[Tensor]:
        assert self._inbox is not None and self.machine.head is not None
        limits = Limits(nbytes=self.machine.head.rules.max_update_bytes)
        topic = self.machine.head.opened.topics.aggregator
        return updates.read(self._log, topic, weights, limits=limits, seen=self._inbox.chunks, thorough=True)

    def _reduce(self, plan: Plan) -> Reduced | Unreducible:
        """The plan's updates, folded in the plan's order, published as the next version."""
        head = self.machine.head
        assert head is not None
        try:
            tensors = self._fold(head, plan)
        except (AggregationError, RefusedError) as error:
            return Unreducible(f"round {head.round + 1} cannot be reduced: {error}")
        weights = updates.publish(
            self._log,
            head.opened.topics.data,
            writer=self._writer,
            update=f"version-{head.version + 1}-{secrets.token_hex(4)}",
            specs=head.opened.weights.tensors,
            tensors=tensors,
        )
        self._models.keep(weights, tensors)
        self._retention.learn(plan.accepted, plan.manifests)
        self._logger.info("round %d reduced from %d updates", head.round + 1, len(plan.accepted))
        return Reduced(weights)

    def _fold(self, head: Head, plan: Plan) -> list[Tensor]:
        assert self._checked is not None
        strategy = strategies.make(head.opened.strategy.name, head.opened.strategy.params)
        model = self._model(head, head.base)
        kept = [(item, read) for item in plan.accepted if (read := self._checked.get(item.offset))]
        if len(kept) == len(plan.accepted) and all(item.base == head.base for item, _ in kept):
            return reduce_in_blocks(strategy, model, kept, self._threads)
        return reduce(strategy, head.base, model, self._accepted(plan, model), lambda base: self._model(head, base))

    def _accepted(self, plan: Plan, model: Sequence[Tensor]) -> Iterator[tuple[Accepted, Sequence[Tensor]]]:
        """The plan's updates one by one, from where they are kept, else from the log."""
        assert self._checked is not None
        for accepted, manifest in zip(plan.accepted, plan.manifests, strict=True):
            read = self._checked.get(accepted.offset)
            yield accepted, blocks.tensors(read, model) if read else self._tensors(manifest)

    # ------------------------------------------------------------ time and people
    def _round_ms(self) -> int:
        """Round time now: what the log has told of it, and what has elapsed here since."""
        time_ = self.machine.time
        return time_.now_ms + (self._clock.elapsed_ms() - self._told_ms if time_.started else 0)

    def _tick_ms(self) -> float:
        """When the next tick is due, as elapsed time.

        The time of a head starts with one; then there is one where something may be due, and wherever the silence
        would soon be longer than counts.
        """
        wake, time_ = self.machine.wake_ms, self.machine.time
        if wake is None:
            return math.inf
        wait = min(time_.step_ms // 2, max(0, wake - time_.now_ms)) if time_.started else START_MS
        return max(self._told_ms + wait, self._ticked_ms + TICK_MS)

    def _tick(self) -> None:
        now, head, time_ = self._clock.elapsed_ms(), self.machine.head, self.machine.time
        if self._told != (time_.seq, time_.told):
            self._told, self._told_ms = (time_.seq, time_.told), now
        if head is None or now < self._tick_ms():
            return
        self._ticked_ms, wall = now, self._clock.now_ms()
        tick = Tick(writer=self._writer, seq=head.link.record.seq)
        (offset,) = self._log.append(head.opened.topics.aggregator, [Outgoing(encode(tick))])
        self._clocks.wrote(offset, wall)

    def _report(self) -> None:
        now = self._clock.elapsed_ms()
        last_ms, last = self._progress
        if now < last_ms + PROGRESS_MS or self.machine.head is None or self.machine.head.ended:
            return
        trouble = self._waiting or self.trouble or self._clocks.said(self.machine.time)
        current = progress_of(self.machine, self._round_ms(), self._failures, trouble)
        if current != last:
            self._control.append(current)
        self._progress = (now, current)
