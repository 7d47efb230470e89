"""Carries out the faults that `tests.chaos.plan` chooses, each kind in a module of its own.

Each module has `hit(stage, fault)`: it does the fault to its end and tells what it met, for the journal; None where
there was nothing to hit, since a client had left already.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.faults import database, disk, network, processes, steps
from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage

Met = dict[str, object]

HITS: dict[str, Callable[[PlatformStage, Fault], Met | None]] = {
    "kill": processes.kill,
    "freeze": processes.freeze,
    "network": network.hit,
    "step": steps.hit,
    "disk": disk.hit,
    "database": database.hit,
}


def hit(stage: PlatformStage, fault: Fault) -> Met | None:
    """Carry the fault out."""
    return HITS[fault.kind](stage, fault)
