"""The database is lost in mid-run, and made anew from the log while the loggers go on."""

from __future__ import annotations

import json
import shutil
import time

from tests.chaos.plan import Fault
from tests.chaos.platform import PlatformStage


def hit(stage: PlatformStage, fault: Fault) -> dict[str, object]:
    """Delete the file under the running backend, which writes into nothing for a while; then recover."""
    stage.home.database.unlink()
    time.sleep(fault.seconds)
    for name in ("web", "launchers"):
        stage.end(name)
    for path in stage.home.root.glob(f"{stage.home.database.name}*"):
        path.unlink()
    shutil.copyfile(stage.empty, stage.home.database)  # tables and users; `rebuild` makes them too, where they miss
    for name in ("web", "launchers"):
        stage.again(name)
    told = json.loads(stage.command("rebuild", "--json"))
    return {"accepted": told["accepted"], "duplicates": told["duplicates"], "streams": told["streams"]}
