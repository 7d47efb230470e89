"""The environments that the peers' programs run in: one for each requirements file here, made once for each Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from mainstem.kafka.broker.cache import locked

REQUIREMENTS = Path(__file__).with_name("requirements")
PEERS = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))


class PeerError(Exception):
    """An environment could not be made; a sentence."""


def interpreter(peer: str) -> Path:
    """The Python of the environment `peer` (a requirements file's name), kept in Mainstem's cache.

    It is made by pip from pinned wheels whose hashes are checked, for the Python that runs the tests; the requirements
    are part of its directory's name, so that other ones make another. Raises PeerError.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    with locked(f"peer-{peer}") as cache:
        place = cache / "peers" / f"{peer}-{sys.implementation.cache_tag}-{digest}"
        if not _works(place):
            shutil.rmtree(place, ignore_errors=True)
            _make(place, requirements)
    return place / "bin" / "python"


def _works(place: Path) -> bool:
    """Whether it is there and its interpreter still is: a Python that was upgraded leaves a broken link."""
    return (place / "bin" / "python").exists()


def _make(place: Path, requirements: Path) -> None:
    staging = place.with_name(f"{place.name}.partial")
    venv.create(staging, clear=True, with_pip=False, symlinks=True)
    install = [
        "--python", str(staging / "bin" / "python"), "install", "--requirement", str(requirements),
        "--require-hashes", "--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check",
    ]  # fmt: skip
    done = subprocess.run([*_pip(), *install], check=False, capture_output=True, text=True)
    if done.returncode:
        raise PeerError(
            f"the environment of {requirements.stem} could not be made; these tests need the package index once "
            f"(PIP_INDEX_URL, HTTPS_PROXY): start them again when it answers. pip said: {done.stderr.strip()[-1000:]}"
        )
    os.rename(staging, place)


def _pip() -> list[str]:
    """This Python's pip, or its base's: an environment made on a Debian without python3-venv has none."""
    for python in (sys.executable, getattr(sys, "_base_executable", sys.executable)):
        if subprocess.run([python, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0:
            return [python, "-m", "pip"]
    raise PeerError(f"{sys.executable} has no pip, which makes the environments of these tests")
