"""The jars of Apache Kafka: downloaded once from Maven Central, checked against pinned sha256 sums, then never again.

`kafka-jars.lock.json` beside this file is the whole truth: Maven coordinates, sizes and sums of all 45 jars, so no
dependency is resolved at run time; `kafka-tools.lock.json` adds Kafka's commands, which only an image needs. jgo (pure
Python) knows the repository and fetches; its own downloads are neither atomic nor checked, so they go to a staging
directory, and a jar counts only once its sum is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from mainstem.errors import BrokerError
from mainstem.kafka.broker.cache import cache_directory, locked

KAFKA_VERSION = "4.4.0"
ATTEMPTS = 3

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all) while jars are downloaded; may come from any thread."""

log = logging.getLogger(__name__)


class Jar(NamedTuple):
    """One pinned jar: Maven coordinates, the sha256 of the file, and its size in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def pinned_jars(lock: str = "kafka-jars.lock.json") -> list[Jar]:
    """All jars of the lock file, in its order."""
    text = resources.files("mainstem.kafka.broker").joinpath(lock).read_text()
    entries: dict[str, dict[str, Any]] = json.loads(text)
    jars = []
    for name, entry in entries.items():
        group, artifact, version = name.split(":")
        jars.append(Jar(group, artifact, version, entry["sha256"], entry["size"]))
    return jars


def home() -> Path:
    """The directory in the cache that holds everything of this Kafka version."""
    return cache_directory() / f"kafka-{KAFKA_VERSION}"


def jars_present() -> bool:
    """Whether the jars are in the cache already, so that no download is needed."""
    return (home() / "jars").is_dir()


def kafka_jars(progress: Progress | None = None) -> list[Path]:
    """The class path of the broker; downloads what is missing, under a lock. Raises `BrokerError` when it cannot."""
    return _present(home() / "jars", pinned_jars(), progress)


def kafka_tools() -> list[Path]:
    """What Kafka's commands need beside the broker's class path; as `kafka_jars`."""
    return _present(home() / "tools", pinned_jars("kafka-tools.lock.json"), None)


def _present(target: Path, jars: list[Jar], progress: Progress | None) -> list[Path]:
    if not target.is_dir():
        with locked(target.name):
            if not target.is_dir():
                _download_all(target, jars, progress or (lambda done, total: None))
    return [target / jar.filename for jar in jars]


def _download_all(target: Path, jars: list[Jar], progress: Progress) -> None:
    staging = target.with_name(f"{target.name}.partial")  # kept after a failure: the next try goes on from there
    staging.mkdir(parents=True, exist_ok=True)
    total, done, guard = sum(jar.size for jar in jars), 0, threading.Lock()

    def count(size: int) -> None:
        nonlocal done
        with guard:
            done += size
            progress(min(done, total), total)

    with ThreadPoolExecutor(8) as pool:
        for pending in [pool.submit(_fetch, jar, staging, count) for jar in jars]:
            pending.result()
    staging.rename(target)


def _fetch(jar: Jar, staging: Path, count: Callable[[int], None]) -> None:
    final = staging / jar.filename
    if final.exists() and _sha256(final) == jar.sha256:
        count(jar.size)
        return
    for attempt in range(ATTEMPTS):
        scratch = staging / f"{jar.filename}.download"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            fetched = _download(jar, scratch, count)
            found = _sha256(fetched)
            if found != jar.sha256:
                raise BrokerError(f"{jar.filename}: the download's sha256 is {found}, not the pinned {jar.sha256}")
            os.replace(fetched, final)
            return
        except Exception as error:
            if attempt == ATTEMPTS - 1:
                raise BrokerError(
                    f"could not download {jar.filename} of Apache Kafka from Maven Central ({error}); "
                    "check the network (HTTPS_PROXY) and start again: what was fetched is kept"
                ) from error
            log.warning("download of %s failed, trying again: %s", jar.filename, error)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _download(jar: Jar, scratch: Path, count: Callable[[int], None]) -> Path:
    try:  # only here: a prepared machine never loads jgo
        from jgo.maven import MavenContext, PythonResolver
    except ImportError:
        raise BrokerError("the package `jgo` is missing: install Mainstem's extra `local`") from None

    @contextlib.contextmanager
    def report(name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield count

    context = MavenContext(resolver=PythonResolver(progress_callback=report), repo_cache=scratch, timeout=60)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return Path(component.artifact(packaging="jar").resolve())


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
