"""The network between a part and Kafka, or between the loggers and the backend, is cut, held or slow."""

from __future__ import annotations

import time

from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage

SLOWNESS = 0.05
"""Seconds that each 64 KiB is late, in both directions."""


def hit(stage: PlatformStage, fault: Fault) -> dict[str, object] | None:
    """Hurt the part's door for a while, then mend it."""
    if fault.target in stage.parts and not stage.alive(fault.target):
        return None
    door = stage.web_door if fault.target == "web" else stage.ground.doors[fault.target]
    match fault.how:
        case "cut":
            door.cut()
        case "hold":
            door.hold()
        case "lose answers":
            door.hold(asks=False)
        case "slow":
            door.slow(SLOWNESS)
    time.sleep(fault.seconds)
    if fault.how == "lose answers":
        door.reset()  # what Kafka did stands; that it did it nobody is told
    door.mend()
    return {}
