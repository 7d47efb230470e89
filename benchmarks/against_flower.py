"""`python -m benchmarks.against_flower`: rounds with clients that train nothing, beside Flower's over gRPC.

FDxKafka's evaluation: 100 clients and 5 rounds with a model of 250 KB and of 5 MB, and 10 clients with 50 MB. Both
run with the same number of client processes, a thread a client, one after the other in turns (A B A B). Flower runs
`start_server` and `start_client`, with a server pool as wide as there are clients; each round it sends the model
down twice (fit, evaluate) unless --without-evaluate. Ours is read once a round, by every client through its own
consumer; the broker's and the aggregator's use are both counted as the server's.

Flower needs an environment of its own:  python3 -m venv DIR && DIR/bin/pip install flwr
then:  python -m benchmarks.against_flower --flower-python DIR/bin/python
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.federation import PATIENCE, Case, measure
from benchmarks.machine import Child, description, shares
from benchmarks.stats import emit, summary
from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.processes import free_port

CASES = {"250KB": Case(100, 250), "5MB": Case(100, 5 << 10), "50MB": Case(10, 50 << 10)}

FIGURES: Mapping[str, tuple[str, float]] = {
    "seconds a round": ("rounds", 1),
    "seconds a later round": ("later", 1),
    "seconds until the new model is on all clients": ("spreading", 1),
    "seconds in all": ("total", 1),
    "CPU seconds of the server side": ("server_cpu", 1),
    "CPU seconds of the clients": ("clients_cpu", 1),
    "peak memory of the aggregator or server, MB": ("server_memory", 1e6),
    "peak memory of the broker, MB": ("broker_memory", 1e6),
    "messages published": ("published", 1),
    "messages delivered": ("delivered", 1),
}


def main() -> int:
    """Run the chosen cases and print each figure's median and spread, ours beside Flower's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", required=True, help="the interpreter of an environment that has flwr")
    parser.add_argument("--cases", default="250KB", help=f"comma-separated: {', '.join(CASES)} (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without-evaluate", action="store_true", help="Flower sends the model once a round")
    options = parser.parse_args()
    version = subprocess.run(
        [options.flower_python, "-c", "import flwr; print(flwr.__version__)"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    result: dict[str, Any] = {"benchmark": "against_flower", "flower": version, **description(), "cases": {}}
    result["flower_evaluates"] = not options.without_evaluate
    for name in options.cases.split(","):
        case = replace(CASES[name], rounds=options.rounds)
        with EmbeddedKafka() as kafka:  # a fresh log a case
            sides: dict[str, Callable[[], dict[str, Any]]] = {
                "mainstem": lambda kafka=kafka, case=case: ours(kafka, case),  # type: ignore[misc]
                "flower": lambda case=case: flower(options.flower_python, case, not options.without_evaluate),  # type: ignore[misc]
            }
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
            for number in range(options.repeat):
                for side, run in sides.items():
                    runs[side].append(run())
                    median = summary(runs[side][-1]["rounds"])["median"]
                    print(
                        f"{case.name}, {number + 1} of {options.repeat}, {side}: {median:g} s a round", file=sys.stderr
                    )
        rows = {side: rows_of(kept) for side, kept in runs.items()}
        show(case, rows)
        result["cases"][case.name] = {**vars(case), **rows}
    result["load_after"] = description()["load"]
    emit(result)
    return 0


def ours(kafka: EmbeddedKafka, case: Case) -> dict[str, Any]:
    """One federation of ours."""
    figures = measure(kafka, case)
    assert set(figures["updates"]) == {case.clients}, "an update was lost or refused"
    return figures | {
        "later": figures["rounds"][1:],
        "server_cpu": figures["aggregator_cpu"] + figures["broker_cpu"],
        "server_memory": figures["aggregator_memory"],
    }


def flower(python: str, case: Case, evaluate: bool) -> dict[str, Any]:
    """One run of Flower."""
    address = f"127.0.0.1:{free_port()}"
    shape = ["--kilobytes", str(case.kilobytes), "--tensors", str(case.tensors), "--rounds", str(case.rounds)]
    module = [python, "-m"]
    server = Child(
        [*module, "benchmarks.flower.server", "--address", address, "--clients", str(case.clients), *shape,
         "--evaluate", str(int(evaluate))]
    )  # fmt: skip
    time.sleep(2)  # it listens by then; clients that come early try again anyway
    clients = [
        Child([*module, "benchmarks.flower.clients", "--address", address, "--count", str(count)])
        for _, count in shares(case.clients, case.processes)
        if count
    ]
    seen = [client.told(PATIENCE) for client in clients]
    said = server.told(PATIENCE)
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
        "clients_cpu": sum(client["cpu_seconds"] for client in seen),
        "published": 2 * exchanges + case.clients,
        "delivered": 2 * exchanges + case.clients,
    }


def rows_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Each figure over all rounds of all runs, or over the runs."""
    rows = {}
    for label, (key, unit) in FIGURES.items():
        found = [run[key] for run in runs if key in run]
        values = [value / unit for item in found for value in (item if isinstance(item, list) else [item])]
        if values:
            rows[label] = summary(values)
    return rows


def show(case: Case, rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """A table to stderr."""
    print(f"\n{case.name}, {case.rounds} rounds: median (min to max)", file=sys.stderr)
    for label in FIGURES:
        cells = []
        for side in ("mainstem", "flower"):
            row = rows[side].get(label)
            cells.append(f"{row['median']:g} ({row['min']:g} to {row['max']:g})" if row else "-")
        ratio = ""
        if all(label in rows[side] for side in rows) and rows["mainstem"][label]["median"]:
            ratio = f"{rows['flower'][label]['median'] / rows['mainstem'][label]['median']:.1f}x"
        print(f"{label:46} {cells[0]:>32} {cells[1]:>32} {ratio:>7}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
