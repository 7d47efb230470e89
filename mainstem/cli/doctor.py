"""Check what Mainstem needs on this machine, and say the fix for what is missing.

Exit code 0 when everything that is needed is there, 3 otherwise.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mainstem.cli.output import Output
from mainstem.cli.where import kafka_config
from mainstem.errors import BrokerError, ConfigError, MainstemError
from mainstem.kafka.broker import java
from mainstem.kafka.broker.cache import cache_directory
from mainstem.kafka.broker.jars import KAFKA_VERSION, jars_present
from mainstem.kafka.broker.prepare import prepared
from mainstem.kafka.client.door import SECONDS, knock
from mainstem.platform import plan
from mainstem.platform.home import Home
from mainstem.rest import Api
from mainstem.runtime import endpoints, gpu
from mainstem.runtime.disk import FLOOR, LOW, Disk, floor_of, size
from mainstem.runtime.processes import port_is_free, run_child

HELP = "check what is missing on this machine, and say the fix"

PACKAGES = {
    "confluent_kafka": "core", "msgspec": "core", "numpy": "core", "fastavro": "core", "django": "backend",
    "rest_framework": "backend", "gunicorn": "backend", "keras": "training", "tensorflow": "training",
    "requests": "cli", "rich": "cli", "sklearn": "inject",
}  # fmt: skip
MEMORY_BYTES = 2 << 30

OK, NOTE, MISSING = "ok", "note", "missing"
_COLOURS = {OK: "green", NOTE: "yellow", MISSING: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `state`: ok, note (works, but), missing. `fix`: what a person should do."""

    what: str
    state: str
    detail: str
    fix: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options of its own."""


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print what was found."""
    findings = [finding for check in CHECKS for finding in check(home)]
    if options.json:
        output.result([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            output.out.print(f"[{_COLOURS[finding.state]}]{finding.state:<8}[/]", end="")
            output.out.print(f"{finding.what:<18} {finding.detail}", markup=False, soft_wrap=True)
            if finding.fix:
                output.out.print(f"{'':26} -> {finding.fix}", markup=False, soft_wrap=True)
    return 3 if any(finding.state == MISSING for finding in findings) else 0


def _python(home: Home) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("Python", OK, f"{version} at {sys.executable}")
    else:
        yield Finding("Python", MISSING, f"{version} is not supported", "use 3.11, 3.12 or 3.13 (MAINSTEM_PYTHON)")


def _packages(home: Home) -> Iterator[Finding]:
    missing = {extra for name, extra in PACKAGES.items() if importlib.util.find_spec(name) is None}
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        fix = f"pip install --require-hashes -r requirements/local.txt (or the extras {', '.join(sorted(missing))})"
        yield Finding("packages", MISSING, f"not installed: {', '.join(absent)}", fix)
    else:
        yield Finding("packages", OK, "all are installed")


def _java(home: Home) -> Iterator[Finding]:
    if os.environ.get("KML_CLOUD_BOOTSTRAP_SERVERS"):
        yield Finding("Java", OK, "not needed: KML_CLOUD_BOOTSTRAP_SERVERS names a Kafka")
        return
    try:
        found = java.find_java()
        yield Finding("Java", OK, f"version {found.major} at {found.path}")
    except BrokerError as error:
        yield Finding("Java", MISSING, "none from version 17 on", str(error).partition(": ")[2])
        return
    cache = cache_directory()
    if prepared():
        yield Finding("Kafka's jars", OK, f"Kafka {KAFKA_VERSION} is prepared in {cache}: starts need no network")
    elif jars_present():
        yield Finding("Kafka's jars", OK, f"Kafka {KAFKA_VERSION} is in {cache}; the first start prepares it")
    else:
        fix = "the next `mainstem up` downloads them (45 MB); it needs the network that once"
        yield Finding("Kafka's jars", NOTE, f"not downloaded yet ({cache})", fix)


def _disk(home: Home) -> Iterator[Finding]:
    try:
        floor = floor_of()
    except ConfigError as error:
        yield Finding("disk", MISSING, str(error), f"set {FLOOR} right, or leave it out")
        return
    for what, path in (("disk, state", home.root), ("disk, cache", cache_directory())):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        usage = shutil.disk_usage(existing)
        disk = Disk(what, existing, usage.free, usage.total, floor)
        detail = f"{size(disk.free)} free at {existing}"
        if not os.access(existing, os.W_OK):
            fix = "choose another directory with MAINSTEM_HOME or MAINSTEM_CACHE"
            yield Finding(what, MISSING, f"{existing} cannot be written", fix)
        elif disk.state == "full":
            fix = f"free at least {size(LOW * floor)} there: below {size(floor)} ({FLOOR}) rounds wait"
            yield Finding(what, MISSING, detail, fix)
        elif disk.state == "low":
            yield Finding(what, NOTE, detail, f"below {size(floor)} ({FLOOR}) rounds wait: free some")
        else:
            yield Finding(what, OK, detail)


def _memory(home: Home) -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        yield Finding("memory", NOTE, "this system does not tell")
        return
    detail = f"{free / 1e9:.1f} GB available"
    fix = "the platform takes under 0.9 GB, each training Job about 0.5 GB: close something"
    yield Finding("memory", OK, detail) if free >= MEMORY_BYTES else Finding("memory", NOTE, detail, fix)


def _ports(home: Home) -> Iterator[Finding]:
    if home.is_held():
        return  # they are taken by us
    ports = [("port of the web", plan.PORT)]
    if not os.environ.get("KML_CLOUD_BOOTSTRAP_SERVERS"):
        ports.append(("port of Kafka", plan.KAFKA_PORT))
    for what, port in ports:
        if port_is_free(port):
            yield Finding(what, OK, f"{port} is free")
        else:
            yield Finding(what, NOTE, f"{port} is taken", "`mainstem up` takes the next free one, or the one you name")


def _kafka(home: Home) -> Iterator[Finding]:
    if not endpoints.cloud(os.environ).servers and not home.is_held():
        yield Finding("Kafka", OK, "no platform runs here now")
        return
    try:
        config = kafka_config(home)
        yield Finding("Kafka", OK, f"{config['bootstrap.servers']} answers, {knock(config, SECONDS)} broker(s)")
    except MainstemError as error:
        fix = "is `mainstem up` running? are KML_CLOUD_BOOTSTRAP_SERVERS and KML_CLOUD_CLIENT_CONFIG right?"
        yield Finding("Kafka", MISSING, str(error), fix)


def _backend(home: Home) -> Iterator[Finding]:
    if not home.is_held() and not os.environ.get("MAINSTEM_API"):
        yield Finding("backend", OK, "no platform runs here now")
        return
    try:
        with Api.connect(home) as api:
            yield Finding("backend", OK, f"{api.address} answers and takes the login")
            yield from logs_of_runs(api)
    except MainstemError as error:
        yield Finding("backend", MISSING, str(error), f"look into {home.logs / 'web.out'}")


def _database(home: Home) -> Iterator[Finding]:
    given = any(os.environ.get(name) for name in ("DATABASE_URL", "DATABASE_URL_FILE"))
    if not given and not home.database.exists():
        yield Finding("database", OK, "there is none yet")
        return
    environment = {"MAINSTEM_SECRET_KEY": "not needed to look", **os.environ, "MAINSTEM_HOME": str(home.root)}
    done = run_child(plan.manage("soundness"), env=environment)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["it gave no reason"]
    if done.returncode:
        yield Finding("database", MISSING, lines[-1].removeprefix("CommandError: "), "is DATABASE_URL right?")
        return
    told = json.loads(lines[-1])
    for fault in told["faults"]:
        fix = "stop the platform, restore a backup (docs/operations.md), start it, then `mainstem rebuild`"
        yield Finding("database", MISSING, fault, fix)
    if not told["faults"]:
        yield Finding("database", OK, f"{told['vendor']}: all {told['tables']} tables can be read")


def logs_of_runs(api: Api) -> Iterator[Finding]:
    """Runs whose log is not what it was; raises ApiError."""
    sound = True
    for run in api.pages("deployments/"):
        for state, name in ((MISSING, "unwitnessed"), (MISSING, "lost"), (NOTE, "doubt"), (NOTE, "amended")):
            if run.get(name):
                sound = False
                fix = f"`mainstem verify {run['federation']}` proves what the log holds; its page tells the rest"
                yield Finding(f"log of {run['federation']}", state, run[name], fix)
    if sound:
        yield Finding("logs of runs", OK, "they hold what was read of them")


def _confinement(home: Home) -> Iterator[Finding]:
    version = landlock_version()
    if version > 0:
        yield Finding("Landlock", OK, f"version {version}: what opens a model that people give can be confined")
    else:
        fix = "use a Linux kernel from 5.13 on with Landlock, or choose templates"
        yield Finding("Landlock", NOTE, "this kernel has none: models as source, JSON or file are refused", fix)


def _gpu(home: Home) -> Iterator[Finding]:
    names, told = gpu.gpus(), gpu.unused()
    if told is not None:
        what, _, fix = told.partition("; ")
        yield Finding("GPU", NOTE, what, fix)
    elif names:
        yield Finding("GPU", OK, f"{', '.join(names)}: {gpu.VARIABLE} is {os.environ[gpu.VARIABLE]}")
    else:
        yield Finding("GPU", OK, "there is none: training takes the processor")


def landlock_version() -> int:
    """The version of Landlock that the kernel offers; 0 where it offers none."""
    if sys.platform != "linux":
        return 0
    create_ruleset, ask_version = 444, 1
    return max(0, int(ctypes.CDLL(None).syscall(create_ruleset, None, ctypes.c_size_t(0), ctypes.c_uint(ask_version))))


CHECKS: tuple[Callable[[Home], Iterator[Finding]], ...] = (
    _python, _packages, _java, _disk, _memory, _ports, _kafka, _backend, _database, _confinement, _gpu,
)  # fmt: skip
