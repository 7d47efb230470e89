"""An aggregator or a client kills itself before, within or after a chosen call of its log."""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage


def hit(stage: PlatformStage, fault: Fault) -> dict[str, object] | None:
    """Put a lethal process in the part's place; when it has died, or had its time, the usual one again."""
    if not stage.alive(fault.target):
        return None
    # of several aggregators one does the work: the lethal one must be it
    role = fault.target.partition("-")[0]
    peers = [name for name in stage.parts if name.startswith("aggregator")] if role == "aggregator" else [fault.target]
    for name in peers:
        stage.kill(name)
    trace = stage.directory / f"{fault.target}.trace"
    trace.unlink(missing_ok=True)
    lethal(stage, fault.target, fault.number, fault.how, trace)
    deadline = time.monotonic() + fault.seconds
    while stage.alive(fault.target) and time.monotonic() < deadline:
        time.sleep(0.02)
    in_time = not stage.alive(fault.target)
    if not in_time:
        stage.kill(fault.target)  # at whatever call it is
    code = stage.left(fault.target)
    for name in peers:
        if code != 0 or name != fault.target:
            stage.again(name)
    calls = trace.read_text().splitlines() if trace.exists() else []
    return {"exit": code, "died_at_call": in_time and code != 0, "call": calls[-1] if calls else ""}


def lethal(stage: PlatformStage, name: str, call: int, when: str, trace: Path) -> None:
    """Start the part `name` so that it dies at that call of its log."""
    part = stage.parts[name]
    module, *options = part.command
    if module == "mainstem.aggregator":
        module = "tests.support.aggregator_process"
        options += ["--federation", stage.newest]
    options += ["--call", str(call), "--when", when, "--trace", str(trace)]
    stage.run(name, [module, *options], part.environment).command = part.command
