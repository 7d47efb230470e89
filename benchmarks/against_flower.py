"""`python -m benchmarks.against_flower`: rounds with clients that train nothing, beside Flower's over gRPC.

FDxKafka's evaluation: 100 clients and 5 rounds with a model of 250 KB and of 5 MB, and 10 clients with 50 MB. Both
run with the same number of client processes, a thread a client, one after the other in turns (A B A B). Flower runs
`start_server` and `start_client`, with a server pool as wide as there are clients; each round it sends the model
down twice (fit, evaluate) unless --without-evaluate. Ours is read once a round, by every client through its own
consumer; the broker's and the aggregator's use are both counted as the server's. More turns are ours with changes
encoded both ways (--encodings), and Kafka alone with the raw bytes and no protocol around them (benchmarks.floor).

Flower needs an environment of its own:  python3 -m venv DIR && DIR/bin/pip install flwr
then:  python -m benchmarks.against_flower --flower-python DIR/bin/python
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import floor
from benchmarks.federation import CASES, Case
from benchmarks.machine import description
from benchmarks.stats import emit, in_turns, show
from benchmarks.versus import FIGURES, grpc, ours, version
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.protocol.encodings import ENCODINGS
from mainstem.protocol.messages import EncodingChoice

DOWN = [name for name, kind in ENCODINGS.items() if kind.down]


def main() -> int:
    """Run one case and print each figure's median and spread, ours beside Flower's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", required=True, help="the interpreter of an environment that has flwr")
    parser.add_argument("--case", choices=CASES, default="250KB", help="clients and size (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without-evaluate", action="store_true", help="Flower sends the model once a round")
    parser.add_argument("--encodings", nargs="*", choices=DOWN, default=["int8", "int4"],
                        help="ours with these too, up and down (default: %(default)s)")  # fmt: skip
    options = parser.parse_args()
    python, evaluate = options.flower_python, not options.without_evaluate
    case = replace(CASES[options.case], rounds=options.rounds)
    result = {"benchmark": "against_flower", "flower": version(python), "flower_evaluates": evaluate, **vars(case)}
    numbers = itertools.count()
    with EmbeddedKafka() as kafka:
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "mainstem": lambda: ours(kafka, case),
            **{name: partial(ours, kafka, encoded(case, name)) for name in options.encodings},
            "flower": lambda: grpc(python, case, evaluate=evaluate),
            "floor": lambda: kafka_alone(kafka, case, next(numbers)),
        }
        runs = in_turns(sides, options.repeat, "rounds")
    show(runs, FIGURES)
    emit({**result, **description(), "runs": runs})
    return 0


def encoded(case: Case, name: str) -> Case:
    """The case with changes that travel so, up and down."""
    choice = EncodingChoice(name=name)
    return replace(case, rules={**case.rules, "encoding_up": choice, "encoding_down": choice})


def kafka_alone(kafka: EmbeddedKafka, case: Case, number: int) -> dict[str, Any]:
    """One round's bytes, its CPU as a run's; that of the one reader of all updates stands with the clients'."""
    told = floor.one_round(kafka, case, number)
    cpu = {
        side: case.rounds * (told[f"collect: CPU of {who}"] + told[f"spread: CPU of {who}"])
        for side, who in (("server_cpu", "the broker"), ("clients_cpu", "writers and readers"))
    }
    return {"rounds": [told["round"]], "spreading": [told["spread"]], **cpu}


if __name__ == "__main__":
    sys.exit(main())
