"""What is compared with Flower: the same figures of a run, ours and Flower's."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.federation import PATIENCE, Case, measure
from benchmarks.machine import Child, shares
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.runtime.processes import free_port

FIGURES: Mapping[str, tuple[str, float]] = {
    "seconds a round": ("rounds", 1),
    "seconds a later round": ("later", 1),
    "seconds until the new model is on all clients": ("spreading", 1),
    "seconds in all": ("total", 1),
    "CPU seconds a run, server side": ("server_cpu", 1),
    "CPU seconds a run, clients": ("clients_cpu", 1),
    "peak memory, MB: aggregator or server": ("server_memory", 1e6),
    "peak memory, MB: broker": ("broker_memory", 1e6),
    "peak memory, MB: server side together": ("side_memory", 1e6),
    "peak memory, MB: clients together": ("clients_memory", 1e6),
    "messages published": ("published", 1),
    "messages delivered": ("delivered", 1),
}


def ours(kafka: EmbeddedKafka, case: Case, **settings: Any) -> dict[str, Any]:
    """One federation of ours; the server's CPU is the aggregator's and the broker's."""
    figures = measure(kafka, case, **settings)
    assert set(figures["updates"]) == {case.clients}, "an update was lost or refused"
    return figures | {
        "later": figures["rounds"][1:],
        "server_cpu": figures["aggregator_cpu"] + figures["broker_cpu"],
        "server_memory": figures["aggregator_memory"],
        "side_memory": figures["aggregator_memory"] + figures["broker_memory"],
    }


def version(python: str) -> str:
    """Of the Flower that an interpreter has."""
    command = [python, "-c", "import flwr; print(flwr.__version__)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def grpc(
    python: str, case: Case, *, evaluate: bool, server: Sequence[str] = (), clients: Sequence[str] = ()
) -> dict[str, Any]:
    """One run of Flower over gRPC (`start_server`, `start_client`), with more options for its two programs."""
    address = f"127.0.0.1:{free_port()}"
    shape = ["--kilobytes", str(case.kilobytes), "--tensors", str(case.tensors), "--rounds", str(case.rounds)]
    common = [python, "-m"]
    serving = Child(
        [*common, "benchmarks.flower.server", "--address", address, "--clients", str(case.clients), *shape,
         "--evaluate", str(int(evaluate)), *server]
    )  # fmt: skip
    time.sleep(2)  # it listens by then; clients that come early try again anyway
    parts = [(first, count) for first, count in shares(case.clients, case.processes) if count]
    running = [
        Child(
            [*common, "benchmarks.flower.clients", "--address", address, "--first", str(first), "--count", str(count),
             *clients]
        )
        for first, count in parts
    ]  # fmt: skip
    seen = [client.told(PATIENCE) for client in running]
    said = serving.told(PATIENCE)
    rounds = [said["rounds"][str(number + 1)] for number in range(case.rounds)]
    assert {r["updates"] for r in rounds} == {case.clients}, "an update was lost"
    spreading = []
    for number, told_round in enumerate(rounds, 1):
        kind, which = ("evaluated", number) if evaluate else ("fitted", number + 1)
        arrivals = [client[kind].get(str(which)) for client in seen]
        if None not in arrivals:  # without evaluation nobody gets the last model
            spreading.append(max(arrivals) - told_round["model"])
    exchanges = case.clients * case.rounds * (2 if evaluate else 1)
    seconds = [r["end"] - r["begin"] for r in rounds]
    return {
        "rounds": seconds,
        "later": seconds[1:],
        "spreading": spreading,
        "total": rounds[-1]["end"] - rounds[0]["begin"],
        "server_cpu": said["cpu_seconds"],
        "server_memory": said["peak_memory"],
        "side_memory": said["peak_memory"],
        "clients_cpu": sum(client["cpu_seconds"] for client in seen),
        "clients_memory": sum(client["peak_memory"] for client in seen),
        "published": 2 * exchanges + case.clients,
        "delivered": 2 * exchanges + case.clients,
    }
