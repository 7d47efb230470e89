"""Say whether the platform runs: its processes with their memory, and its deployments."""

from __future__ import annotations

import argparse
from typing import Any

from mainstem.cli.output import Output
from mainstem.platform.home import Home, Running
from mainstem.rest import Api, ApiError
from mainstem.runtime.processes import descendants, identity, memory

HELP = "say what runs, and how the deployments are doing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options of its own."""


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print it; exit code 1 when nothing runs."""
    running = home.running()
    if running is None or not home.is_held():
        if options.json:
            output.result({"running": False, "home": str(home.root)})
        else:
            output.say(f"No platform runs in {home.root}: `mainstem up` starts one.")
        return 1
    processes = measured(running)
    deployments, problem = _deployments(home)
    if options.json:
        output.result(
            {
                "running": True, "ready": running.ready, "api": running.api, "kafka": running.kafka,
                "home": str(home.root), "processes": processes, "memory": sum(entry["memory"] for entry in processes),
                "deployments": deployments, "problem": problem,
            }
        )  # fmt: skip
        return 0
    output.out.print(f"Mainstem is {'ready' if running.ready else 'starting'}: {running.api}, Kafka {running.kafka}")
    rows = [(entry["name"], entry["pid"], f"{entry['memory'] / 1e6:.0f} MB") for entry in processes]
    rows.append(("all", "", f"{sum(entry['memory'] for entry in processes) / 1e6:.0f} MB"))
    output.table("Processes", ("process", "pid", "memory"), rows)
    if problem:
        output.error(problem)
    columns = ("federation", "name", "state", "round", "version", "detail")
    output.table("Deployments", columns, [[entry.get(name) for name in columns] for entry in deployments])
    for entry in deployments:
        for sentence in filter(None, (entry.get("error"), entry.get("detail"))):
            output.show((str(entry["federation"]), "bold"), f": {sentence}")
    return 0


def measured(running: Running) -> list[dict[str, Any]]:
    """Each process with the memory (proportional set size, bytes) of itself and its descendants."""
    named = {"platform": (running.pid, identity(running.pid))} | running.processes
    own = {pid for pid, _ in named.values()}
    result = []
    for name, (pid, _) in named.items():
        family = [pid, *(child for child in descendants(pid) if child not in own)] if pid != running.pid else [pid]
        result.append({"name": name, "pid": pid, "memory": sum(memory(member) or 0 for member in family)})
    return result


def _deployments(home: Home) -> tuple[list[dict[str, Any]], str | None]:
    try:
        with Api.connect(home) as api:
            return list(api.pages("deployments/")), None
    except ApiError as error:
        return [], str(error)
