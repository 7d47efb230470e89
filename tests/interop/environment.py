"""What the Node client stands on: Node itself, and the packages of its lock file, installed once into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from mainstem.kafka.broker.cache import locked

CODE = Path(__file__).with_name("node")
FILES = ("package.json", "package-lock.json")


class NodeError(Exception):
    """The packages could not be installed; a sentence."""


def missing() -> str | None:
    """Which of the programs is not on the PATH; None where both are."""
    return next((program for program in ("node", "npm") if shutil.which(program) is None), None)


def modules() -> Path:
    """The directory of the packages, by npm from the lock file, whose hashes are checked. Raises NodeError."""
    digest = hashlib.sha256((CODE / "package-lock.json").read_bytes()).hexdigest()[:12]
    with locked("node-client") as cache:
        place = cache / "node" / digest
        if not place.exists():
            staging = place.with_name(f"{digest}.partial")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            for name in FILES:
                shutil.copy(CODE / name, staging)
            install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(install, cwd=staging, check=False, capture_output=True, text=True)
            if done.returncode:
                raise NodeError(
                    "the packages of the Node client could not be installed; its tests need npm's registry once: start "
                    f"them again when it answers. npm said: {done.stderr.strip()[-1000:]}"
                )
            os.rename(staging, place)
    return place / "node_modules"


def command(program: str, *arguments: str) -> list[str]:
    """The command that runs one of the client's programs."""
    return ["node", str(CODE / program), *arguments]
