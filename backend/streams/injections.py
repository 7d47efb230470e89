"""Carries out injections, in the launcher process: the public script in a process of its own, never a web worker."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from backend.streams.models import Injection, InjectionState
from mainstem.processes import die_with_parent

log = logging.getLogger(__name__)

SCRIPT = "inject_scripts.inject_dummy_training_data"
ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 600.0
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


class Injector:
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
    try:
        done = subprocess.run(
            [sys.executable, "-m", SCRIPT, "--json", "--quiet", *arguments(asked)],
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            timeout=LONGEST_SECONDS,
            check=False,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    except subprocess.TimeoutExpired:
        return True, f"it took longer than {LONGEST_SECONDS:.0f} s and was ended"
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return True, (last[-1].removeprefix("error: ") if last else f"it ended with {done.returncode}")
    streams = json.loads(done.stdout)["streams"]
    records = sum(stream["total_msg"] for stream in streams)
    return False, f"{len(streams)} stream{'s' * (len(streams) != 1)} of {records:,} records announced"


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


def _environment() -> dict[str, str]:
    """Kafka's address and nothing secret of ours."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "DATA_BOOTSTRAP_SERVERS": settings.DATA_BOOTSTRAP}
    if settings.DATA_CLIENT_CONFIG:
        environment["DATA_CLIENT_CONFIG"] = settings.DATA_CLIENT_CONFIG
    return environment
