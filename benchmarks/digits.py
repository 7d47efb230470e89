"""`python -m benchmarks.digits`: ten clients train a small convolutional network, beside Flower's over gRPC.

The same network, first weights, images, epochs and seeds on both sides (benchmarks/digits_task.py): the final models
must agree to rounding, and their accuracy on the test images is told. Two client processes with five clients each on
both sides; TensorFlow is loaded and the network traced before the first round. Flower does not evaluate here.

Flower's environment needs TensorFlow too:  python3 -m venv DIR && DIR/bin/pip install flwr tensorflow scikit-learn
then:  python -m benchmarks.digits --flower-python DIR/bin/python
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.federation import PATIENCE, Case, last_model
from benchmarks.machine import Child, description, shares
from benchmarks.stats import emit, in_turns, show
from benchmarks.versus import FIGURES, grpc, ours, version
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.weights import Tensor

CLIENTS = 10


def main() -> int:
    """Run both in turns and compare their models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", required=True, help="an interpreter that has flwr, tensorflow, scikit-learn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    python = options.flower_python
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka() as kafka:
        directory = Path(name)
        initial = directory / "initial.npz"
        parameters = task("initial", initial)["parameters"]
        case = Case(CLIENTS, parameters * 4 >> 10, options.rounds)
        finals: list[Path] = []

        def final() -> Path:
            finals.append(directory / f"final-{len(finals)}.npz")
            return finals[-1]

        def flower() -> dict[str, Any]:
            files = ["--initial", str(initial), "--final", str(final())]
            return grpc(python, case, evaluate=False, server=files, clients=["--digits"])

        def saved(log: KafkaLog, federation: str) -> dict[str, Any]:
            np.savez(final(), *last_model(log, federation))
            return {}

        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "mainstem": lambda: ours(kafka, case, model=tensors(initial), start=clients, after=saved),
            "flower": flower,
        }
        runs = in_turns(sides, options.repeat, "rounds")
        accuracies = task("score", *finals)["accuracies"]
        models = [np.concatenate([tensor.ravel() for tensor in tensors(file)]) for file in finals]
    ordered = (run for turn in zip(*runs.values(), strict=True) for run in turn)
    for run, accuracy, model in zip(ordered, accuracies, models, strict=True):
        run |= {"accuracy": accuracy, "difference": float(np.max(np.abs(model - models[0])))}
    show(runs, {**FIGURES, "accuracy": ("accuracy", 1)})
    result = {"benchmark": "digits", "flower": version(python), "clients": CLIENTS, "parameters": parameters}
    emit({**result, "rounds": options.rounds, **description(), "runs": runs})
    return 0


def task(*arguments: object) -> dict[str, Any]:
    """What benchmarks.digits_task tells; in a process of its own, which takes TensorFlow along."""
    return Child([sys.executable, "-m", "benchmarks.digits_task", *map(str, arguments)]).told(PATIENCE)


def tensors(path: Path) -> list[Tensor]:
    """From a .npz."""
    with np.load(path) as file:
        return [file[name] for name in file.files]


def clients(bootstrap: str, federation: str, case: Case) -> list[Child]:
    """Our client processes."""
    return [
        Child(
            [sys.executable, "-m", "benchmarks.digits_clients", "--federation", federation,
             "--first", str(first), "--count", str(count)],
            {"KML_CLOUD_BOOTSTRAP_SERVERS": bootstrap},
        )
        for first, count in shares(case.clients, case.processes)
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
