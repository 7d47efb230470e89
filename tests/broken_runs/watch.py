"""Looks where people look for a sentence about a run: its page, its results, its stream's page, and last its Jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.broken_runs.case import Case, Run
from tests.broken_runs.ground import Ground

LOOK_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 3.0
"""After the end, for what is still on its way to the pages."""
OVER: Final = ("finished", "failed")
_OTHERS: Final = frozenset(
    (
        "architecture",
        "data",
        "description",
        "input",
        "input_config",
        "job",
        "name",
        "raw",
        "restrictions",
        "rules",
        "training",
    )
)
"""Fields of what people said themselves."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a run, and after how many seconds. `sentence` is "" where there was none."""

    where: str
    sentence: str
    state: str
    seconds: float


def watch(ground: Ground, run: Run, case: Case, seconds: float) -> Seen:
    """The first sentence that is about what was done; else what there was when nothing more was to come.

    That is when the run ended, when its Jobs failed for good, or when the time was over. Where the run is to train,
    sentences are only told then.
    """
    begin = time.monotonic()
    end = begin + seconds
    while True:
        state, jobs, now = _state(ground, run), _jobs(ground, run), time.monotonic()
        if state in OVER or (jobs and all(job["state"] == "failed" for job in jobs)):
            end = min(end, now + GRACE_SECONDS)
        told = list(_sentences(ground, run))
        about = next((entry for entry in told if case.is_said(entry[1])), None)
        if about is not None or now >= end:
            last = [("only GET jobs/ detail", job["detail"]) for job in jobs if job["detail"]]
            where, sentence = about or next(iter(told or last), ("", ""))
            return Seen(where, sentence, state, now - begin)
        time.sleep(LOOK_SECONDS)


def _state(ground: Ground, run: Run) -> str:
    status, deployment = ground.platform.ask("GET", f"deployments/{run.federation}/")
    return str(deployment["state"]) if status == 200 else str(status)


def _sentences(ground: Ground, run: Run) -> Iterator[tuple[str, str]]:
    for resource in ("deployments", "results"):
        status, document = ground.platform.ask("GET", f"{resource}/{run.federation}/")
        for field, text in _texts(document) if status == 200 else ():
            yield f"GET {resource}/{{id}}/ {field}", text
    for source in _sources(ground, run):
        for field, text in _texts(source):
            yield f"GET datasources/{{id}}/ {field}", text
        status, fits = ground.platform.ask("GET", f"datasources/{source['id']}/fits/")
        for fit in fits if status == 200 else ():
            if fit["federation"] == run.federation and fit["reason"]:
                yield "GET datasources/{id}/fits/ reason", fit["reason"]


def _sources(ground: Ground, run: Run) -> list[dict[str, Any]]:
    if not run.topic:
        return []
    _, page = ground.platform.ask("GET", "datasources/?ordering=-id&page_size=100")
    return [source for source in page["results"] if run.topic in str(source["topic"])]


def _jobs(ground: Ground, run: Run) -> list[dict[str, Any]]:
    _, page = ground.platform.ask("GET", f"jobs/?federation={run.federation}")
    jobs: list[dict[str, Any]] = page["results"]
    return jobs


def _texts(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of three words or more, with the names that lead to it."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name not in _OTHERS:
                yield from _texts(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value, path)
    elif isinstance(document, str) and document.count(" ") >= 2:
        yield path, document
