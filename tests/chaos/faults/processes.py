"""kill -9 and start again; SIGSTOP, wait, SIGCONT."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage


def kill(stage: PlatformStage, fault: Fault) -> dict[str, object] | None:
    """kill -9 of the part's first process, or of one that it started; who should start it again does so at once."""
    if fault.target == "kafka":
        stage.ground.kill()
        stage.ground.start()
        return {}
    if not stage.alive(fault.target):
        return None
    if fault.how == "worker":
        _, *workers = stage.pids(fault.target)
        if not workers:
            return None
        os.kill(workers[0], signal.SIGKILL)
        return {"pid": workers[0]}
    stage.kill(fault.target)
    stage.again(fault.target)
    return {}


def freeze(stage: PlatformStage, fault: Fault) -> dict[str, object] | None:
    """Stop all of the part's processes for a while."""
    if fault.target != "kafka" and not stage.alive(fault.target):
        return None
    stage.signal(fault.target, signal.SIGSTOP)
    time.sleep(fault.seconds)
    stage.signal(fault.target, signal.SIGCONT)
    return {}
