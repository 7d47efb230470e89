"""What an aggregator worker counts, and what it shows of its federations when it is scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mainstem.protocol.control import Entry
from mainstem.protocol.messages import Failed, Finished, Lifecycle, Progress, Round, Stopped
from mainstem.rounds import RoundMachine
from mainstem.rounds.refusals import Refusals
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter, histogram
from mainstem.runtime.metrics.serving import family

ROUNDS = counter(names.ROUNDS_COMMITTED)
ROUND_SECONDS = histogram(names.ROUND_SECONDS)
COMMIT_SECONDS = histogram(names.COMMIT_SECONDS)
ACCEPTED = counter(names.UPDATES_ACCEPTED)
LEFT_OUT = counter(names.UPDATES_LEFT_OUT)
REFUSED = counter(names.UPDATES_REFUSED)
SUPERSEDED = counter(names.SUPERSEDED)
ENDED = counter(names.RUNS_ENDED)
RESUMES = counter(names.RESUMES)


class Meters:
    """The counters' view of one federation. Records that another worker wrote are that one's to count."""

    def __init__(self) -> None:
        self._refusals = Refusals()
        self._refused: Counter[str] = Counter()

    def appended(self, offset: int, entries: Iterable[Entry]) -> None:
        """This worker's record stands at `offset`; `entries` were read after it."""
        entry = next((entry for entry in entries if entry.offset == offset), None)
        if entry is None:
            return
        if entry.link is None:
            SUPERSEDED.inc()
        elif isinstance(entry.record, Lifecycle):
            self._committed(entry.record, entry.timestamp_ms)

    def _committed(self, record: Lifecycle, time_ms: int) -> None:
        match record:
            case Round():
                ROUNDS.inc()
                ROUND_SECONDS.observe(max(0, time_ms - record.opened_ms) / 1000)
                COMMIT_SECONDS.observe(max(0, time_ms - record.closed.time_ms) / 1000)
                ACCEPTED.inc(len(record.accepted))
                LEFT_OUT.inc(sum(bool(accepted.left_out) for accepted in record.accepted))
            case Finished() | Failed() | Stopped():
                ENDED.labels(type(record).__name__.lower()).inc()

    def refused(self, refusals: Refusals) -> None:
        """Count the open round's refusals that are new. A worker that resumes an open round counts them again."""
        if self._refusals is not refusals:
            self._refusals, self._refused = refusals, Counter()
        known = self._refused.total()
        if len(refusals.named) + refusals.more.total() == known:
            return
        now = refusals.counts
        for reason, number in (now - self._refused).items():
            REFUSED.labels(reason).inc(number)
        self._refused = now


class Sight:
    """What one running federation shows: plain values, so that any thread may read them."""

    __slots__ = (
        "age", "ahead", "federation", "position", "progress", "round", "since_ms", "stands", "stepped", "topic",
    )  # fmt: skip

    def __init__(self, federation: str, stepped: float) -> None:
        self.federation, self.stepped = federation, stepped
        self.topic = ""
        self.position = 0
        self.round = 0
        self.since_ms = 0
        self.age = self.ahead = 0.0
        self.progress: Progress | None = None
        self.stands = False
        """Nothing is committed: its log is not the one that was witnessed."""

    @property
    def open_round(self) -> int | None:
        """The round that is open; None before the first step."""
        return self.round + 1 if self.since_ms else None

    def see(
        self, machine: RoundMachine, progress: Progress | None, stepped: float, round_ms: int, ahead_ms: int
    ) -> None:
        """After a step: with round time now, and how far the log's stamps are ahead of this machine's clock."""
        head = machine.head
        if head is not None:
            self.topic, self.position = head.opened.topics.aggregator, machine.position
            self.round, self.since_ms = head.round, head.since_ms
            self.age, self.ahead = (round_ms - head.since_ms) / 1000, ahead_ms / 1000
        self.progress, self.stepped = progress, stepped


class FederationsCollector(Collector):
    """The federations that a worker runs now.

    `sights` gives them, `end_of` the next offset of a topic's partition 0 (None where Kafka does not say at once).
    `now` is seconds of the clock of `stepped`.
    """

    def __init__(
        self,
        sights: Callable[[], Sequence[Sight]],
        end_of: Callable[[str], int | None],
        now: Callable[[], float],
    ) -> None:
        self._sights, self._end_of, self._now = sights, end_of, now

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        sights = sorted(self._sights(), key=lambda sight: sight.federation)
        running = family(names.FEDERATIONS_OPEN)
        running.add_metric([], len(sights))
        yield running
        standing = family(names.FEDERATIONS_UNWITNESSED)
        standing.add_metric([], sum(sight.stands for sight in sights))
        yield standing
        states: Counter[str] = Counter()
        for sight in sights:
            states.update(member.state for member in (sight.progress.members if sight.progress else ()))
        clients = family(names.CLIENTS)
        for state, number in sorted(states.items()):
            clients.add_metric([state], number)
        yield clients
        steps = {sight.federation: self._now() - sight.stepped for sight in sights}
        yield from _each_and_most(names.STEP_AGE, names.STEP_AGE_MAX, steps)
        yield from _each_and_most(names.LAG, names.LAG_MAX, self._lags(sights))
        rounds, ages, clocks = family(names.ROUND), family(names.ROUND_AGE), family(names.CLOCK_AHEAD)
        for sight in sights[: names.FEDERATIONS_SHOWN]:
            if sight.since_ms:
                rounds.add_metric([sight.federation], sight.round)
                ages.add_metric([sight.federation], sight.age + steps[sight.federation])
                clocks.add_metric([sight.federation], sight.ahead)
        yield from (rounds, ages, clocks)

    def _lags(self, sights: Iterable[Sight]) -> dict[str, float]:
        lags: dict[str, float] = {}
        for sight in sights:
            if not sight.topic:
                continue
            end = self._end_of(sight.topic)
            if end is None:
                break  # Kafka is away: a scrape must not wait for it once for each federation
            lags[sight.federation] = max(0, end - sight.position)
        return lags


def _each_and_most(each: names.Metric, most: names.Metric, values: dict[str, float]) -> Iterator[Metric]:
    """Values by federation, the largest ones where there are many, and the largest of all."""
    shown = family(each)
    for federation, value in sorted(values.items(), key=lambda item: -item[1])[: names.FEDERATIONS_SHOWN]:
        shown.add_metric([federation], value)
    largest = family(most)
    if values:
        largest.add_metric([], max(values.values()))
    yield from (shown, largest)
