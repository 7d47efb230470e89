"""Carries out injections, in the launcher process: the public script in a process of its own, never a web worker."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.utils import timezone
from rest_framework.serializers import BaseSerializer

from backend.accounts.models import User
from backend.audit.recording import recorded
from backend.streams import options, script, uploads
from backend.streams.models import Injection, InjectionState
from mainstem.runtime.endpoints import Endpoint, data_environ

log = logging.getLogger(__name__)

LONGEST_SECONDS: Final = 600.0
_PROGRESS: Final = re.compile(r"progress (\d+) of (\d+)")


class InjectionRunner:
    """Takes one injection a step; the first step looks after those that an earlier process left."""

    def __init__(self) -> None:
        self._fresh = True

    def step(self) -> bool:
        """Carry out the oldest injection that waits; whether there was one."""
        if self._fresh:
            forget_interrupted()
            self._fresh = False
        return run_next()


def forget_interrupted() -> None:
    """What ran when the process ended is not begun anew: some of its streams may be announced already."""
    told = "the launcher ended meanwhile: look which streams are there, and inject the rest anew"
    Injection.objects.filter(state=InjectionState.RUNNING).update(state=InjectionState.FAILED, detail=told)


def run_next() -> bool:
    """Carry out the oldest injection that waits; whether there was one."""
    asked = Injection.objects.filter(state=InjectionState.WAITING).order_by("id").first()
    if asked is None:
        return False
    mine = Injection.objects.filter(pk=asked.pk, state=InjectionState.WAITING)
    if mine.update(state=InjectionState.RUNNING) != 1:
        return True
    failed, detail = _inject(asked)
    state = InjectionState.FAILED if failed else InjectionState.SUCCEEDED
    Injection.objects.filter(pk=asked.pk).update(state=state, detail=detail[:1000], ended_at=timezone.now())
    log.info("injection %s %s: %s", asked.pk, state, detail)
    return True


def _inject(asked: Injection) -> tuple[bool, str]:
    """Run the script; whether it failed, and what it says in a sentence."""
    if not asked.files:
        return _run(script.DIGITS, arguments(asked), _teller(asked))
    upload = asked.upload
    if upload is None:
        return True, "its files are gone: upload them again"
    with uploads.written(upload) as paths:
        words = [*options.arguments(asked.options | {"topic": asked.topic}), *paths]
        failed, told = _run(script.FILES, words, _teller(asked))
    if not failed:
        upload.delete()
    return failed, told


def _run(name: str, words: list[str], told: Callable[[str], None]) -> tuple[bool, str]:
    kafka = data_environ(Endpoint(settings.DATA_BOOTSTRAP, settings.DATA_CLIENT_CONFIG))
    words = ["--json", "--quiet", "--progress", *words]
    printed, problem = script.run(name, words, seconds=LONGEST_SECONDS, kafka=kafka, told=told)
    if printed is None:
        return True, problem
    streams = json.loads(printed)["streams"]
    records = sum(stream["total_msg"] for stream in streams)
    return False, f"{len(streams)} stream{'s' * (len(streams) != 1)} of {records:,} records announced"


def _teller(asked: Injection) -> Callable[[str], None]:
    """Notes the script's lines of progress with the injection."""

    def tell(line: str) -> None:
        if (found := _PROGRESS.fullmatch(line)) is not None:
            detail = f"{int(found[1]):,} of {int(found[2]):,} records sent"
            Injection.objects.filter(pk=asked.pk).update(detail=detail)

    return tell


def ask(asked: BaseSerializer[Injection], user: User) -> Injection:
    """Have the launcher inject what a checked request asks for."""
    with recorded("injection.create") as act:
        made = asked.save(created_by=user)
        act.of(made)
    return made


def arguments(asked: Injection) -> list[str]:
    """The script's options."""
    words = {
        "--clients": asked.clients,
        "--train-samples": asked.train_samples,
        "--test-samples": asked.test_samples,
        "--seed": asked.seed,
        "--topic": asked.topic,
        "--format": asked.input_format,
        "--restriction": json.dumps(asked.restriction if asked.restriction is not None else {}),
        "--alpha": asked.alpha,
    }
    return [f"{name}={value}" for name, value in words.items() if value is not None]
