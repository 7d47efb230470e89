"""Why a run does not go on, and what to do about it: pure, from facts to sentences.

A run's page, the overview and `GET deployments/{id}/` all say what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mainstem.runtime.words import few

K = TypeVar("K")
V = TypeVar("V")

TOLD = 3
"""Troubles, streams and clients that one sentence names."""

AWAITED = 12
"""Clients that are named of those whom a round waits for."""

STANDSTILLS = {
    "opening": ("its topics and version 0 are being written to Kafka", ""),
    "stopped": ("it was stopped", "Resume it: it goes on from its last commit."),
    "failed": ("it failed", "Mend the cause, then resume it: it goes on from its last commit."),
    "lost": ("topics of it are missing", "Restore Kafka from a copy, or start it anew."),
}
"""States in which no round is open: what that means, and what to do."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A Job that failed, or that does not start: `detail` is its last error, or what its cluster says."""

    name: str
    client: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class IdleStream:
    """An announced stream that no Job of the run trains on. `reason`: why it does not fit, or what it waits for."""

    number: int
    topic: str
    fits: bool
    reason: str = ""
    elsewhere: bool = False
    """Whether it is addressed to another federation."""

    def __str__(self) -> str:
        return f"stream {self.number} ({self.topic})"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for clients: `active` of `needed` have joined, the Jobs of others are under way, or idle."""

    active: int
    needed: int
    under_way: int = 0
    idle: int = 0
    """Jobs that have ended: failed ones, those that a person stopped."""
    streams: Sequence[IdleStream] = ()
    wants: str = ""
    """What a stream must be to fit, as in `one of shape [4]`."""
    launcher: str = ""
    """Why no Job is made or started; empty where the launcher works."""


@dataclass(frozen=True, slots=True)
class Open:
    """An open round: whose answers it needs, and who of them is silent. `quorum` is None where no deadline ends it."""

    number: int
    awaited: Sequence[str]
    silent: Sequence[str] = ()
    deadline_seconds: float = 0.0
    quorum: int | None = None
    below_quorum: str = "extend"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run, by whoever said it. Of a run that is not `open_` only its log may be told."""

    state: str
    log: Sequence[str] = ()
    kafka: str = ""
    aggregator: str = ""
    gave_up: Sequence[tuple[str, str]] = ()
    """(client, its own words), each once."""
    jobs: Sequence[Launched] = ()
    waiting: Waiting | None = None
    round: Open | None = None


@dataclass(frozen=True, slots=True)
class Hindrance:
    """A sentence, who it is about, and what to do next; `wrong`: it is a trouble, and no mere waiting."""

    about: str
    detail: str
    advice: str = ""
    wrong: bool = True
    jobs: tuple[str, ...] = ()
    """The Jobs that it is about."""
    streams: tuple[int, ...] = ()
    """The data sources that it names."""

    def __str__(self) -> str:
        return f"{self.about}: {self.detail}"


def reasons(facts: Facts) -> list[Hindrance]:
    """All of them: troubles before waiting, and what clients said themselves before what was seen of their Jobs."""
    return [*_troubles(facts), *_standstill(facts), *_waiting(facts.waiting), *_round(facts.round)]


def detail_with(detail: str, found: Iterable[Hindrance]) -> str:
    """What a run's newest record says, then the first of its troubles."""
    wrong = [str(reason) for reason in found if reason.wrong]
    more = [f"and {len(wrong) - TOLD} more"] if len(wrong) > TOLD else []
    return " ".join(filter(None, [detail, "; ".join([*wrong[:TOLD], *more])]))


# ---------------------------------------------------------------- troubles
def _troubles(facts: Facts) -> Iterator[Hindrance]:
    for said in facts.log:
        yield Hindrance("the log", said)
    if facts.aggregator:
        yield Hindrance("the aggregator", facts.aggregator)
    for said, clients in _alike((detail, client) for client, detail in facts.gave_up):
        yield Hindrance(few(clients, TOLD), said, "Mend what is named, then start the client again.")
    spoke = {client for client, _ in facts.gave_up}
    silent = [job for job in facts.jobs if job.client not in spoke]
    for (said, failed), jobs in _alike(((job.detail, job.state == "failed"), job) for job in silent):
        advice = "Mend what is named, then retry on the Job's page." if failed else "It starts by itself after that."
        about = few([job.client for job in jobs], TOLD)
        yield Hindrance(about, said, advice, jobs=tuple(job.name for job in jobs))


def _alike(pairs: Iterable[tuple[K, V]]) -> list[tuple[K, list[V]]]:
    """Those of one key together, in the order of their first."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return list(found.items())


def _standstill(facts: Facts) -> Iterator[Hindrance]:
    if facts.kafka:
        yield Hindrance("Kafka", facts.kafka, "It is retried by itself.", wrong=False)
    if facts.state in STANDSTILLS and not (facts.state == "opening" and facts.kafka):
        yield Hindrance("the run", *STANDSTILLS[facts.state], wrong=False)


# ---------------------------------------------------------------- waiting
def _waiting(facts: Waiting | None) -> Iterator[Hindrance]:
    if facts is None or facts.active >= facts.needed:
        return
    yield from _joined(facts)
    if facts.launcher:
        yield Hindrance("the launcher", facts.launcher, "No Job is made or started until it works again.", wrong=False)
    if facts.active + facts.under_way + facts.idle < facts.needed:
        yield from _streams(facts)


def _joined(facts: Waiting) -> Iterator[Hindrance]:
    said = f"{facts.active} of {facts.needed} have joined"
    if facts.under_way:
        number = f"{facts.under_way} Job{'s are' if facts.under_way > 1 else ' is'} under way"
        advice = "A client joins once it has read its stream; its Job's log says how far it is."
        yield Hindrance("clients", f"{said}, and {number}", advice, wrong=False)
    else:
        yield Hindrance("clients", f"{said}, and no Job is under way" if facts.idle else said, wrong=False)


def _streams(facts: Waiting) -> Iterator[Hindrance]:
    fitting = [stream for stream in facts.streams if stream.fits]
    for stream in fitting[:TOLD]:
        waits = f"it waits: {stream.reason}" if stream.reason else "it fits, and its Job is about to be made"
        yield Hindrance(str(stream), waits, wrong=False, streams=(stream.number,))
    if facts.active + facts.under_way + facts.idle + len(fitting) >= facts.needed:
        return
    advice = f"Announce {facts.wants}." if facts.wants else ""
    misfits = [stream for stream in facts.streams if not stream.fits]
    others = "other " if facts.under_way or facts.idle or fitting else ""
    if not misfits:
        yield Hindrance("data streams", f"no {others}stream was announced yet", advice, wrong=False)
        return
    named = few([f"{stream}: {stream.reason}" for stream in misfits], TOLD, "; ")
    yield Hindrance(
        "data streams",
        f"no {others}announced stream fits. {named[0].upper()}{named[1:]}",
        advice,
        wrong=False,
        streams=tuple(stream.number for stream in misfits[:TOLD]),
    )


def _round(facts: Open | None) -> Iterator[Hindrance]:
    if facts is None or not facts.awaited:
        return
    said = f"it waits for {few(facts.awaited, AWAITED)}"
    if facts.silent:
        said += f"; silent: {few(facts.silent, AWAITED)}"
    advice = ""
    if facts.quorum is not None:
        least = f"{facts.quorum} update{'s' if facts.quorum > 1 else ''} at least"
        fewer = "the run fails" if facts.below_quorum == "fail" else "it is extended"
        advice = f"Its deadline of {facts.deadline_seconds:g} s closes it with {least}; with fewer {fewer}."
    yield Hindrance(f"round {facts.number}", said, advice, wrong=False)
