"""`python -m benchmarks.aggregation`: folding updates alone, in GB/s of updates, beside NumPy and memory bandwidth.

The updates lie in memory, so this is the fold and nothing else. `copy` is what this machine's memory gives: bytes
copied a second by NumPy from one large array to another. NumPy's mean is `average` in float64 over stacked updates.
`fold` is fedavg's; every other strategy that has a name has a row, with its defaults.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.machine import description
from benchmarks.stats import emit, show
from mainstem.aggregation.blocks import reader
from mainstem.aggregation.reduction import Counted, reduce
from mainstem.aggregation.strategies import OF_NUMBERS, Claim, make
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.weights import Tensor, specs_of


def main() -> int:
    """Fold `--clients` updates `--repeat` times each way, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--kilobytes", type=int, default=5 << 10, help="size of an update (default: %(default)s)")
    parser.add_argument("--tensors", type=int, default=4)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    count = options.kilobytes * 256 // options.tensors
    updates: list[list[Tensor]] = [
        [random.standard_normal(count, dtype=np.float32) for _ in range(options.tensors)]
        for _ in range(options.clients)
    ]
    weights = [float(1 + number) for number in range(options.clients)]
    nbytes = options.clients * options.tensors * count * 4
    made: dict[str, list[Tensor]] = {}

    specs = exchange_of(specs_of((f"t{n}", tensor) for n, tensor in enumerate(updates[0])))
    state: dict[str, dict[str, list[Tensor]]] = {}
    # twice the tensors: SCAFFOLD's updates carry a group like the model
    given = [
        Counted(Claim("c", number + 1, way=1.0, loss=1.0, rate=1.0), reader([*update, *update]))
        for number, update in enumerate(updates)
    ]

    def in_threads(count: int) -> None:
        made["ours"] = reduce(make("fedavg", {}), specs, updates[0], given, {}, 1, count).tensors

    def by(name: str) -> None:
        strategy = make(name, {})
        exchanged = exchange_of(specs.model, strategy.groups(specs))
        found = reduce(strategy, exchanged, updates[0], given, state.get(name, {}), 1, options.threads)
        state[name] = found.state

    def in_numpy() -> None:
        made["numpy"] = [
            np.average(np.stack([update[t].astype(np.float64) for update in updates]), axis=0, weights=weights)
            for t in range(options.tensors)
        ]

    source = np.ones(nbytes // 8)
    target = np.empty_like(source)

    def copy() -> None:
        np.copyto(target, source)

    ways: dict[str, Callable[[], None]] = {
        "fold": lambda: in_threads(options.threads),
        "fold in one thread": lambda: in_threads(1),
        "NumPy float64": in_numpy,
        "memory copy": copy,
        **{name: partial(by, name) for name in OF_NUMBERS if name not in ("fedavg", "custom")},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.repeat + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if number:  # the first one warms up
                seconds[name].append(time.perf_counter() - begin)
    error = max(
        float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-3)))
        for a, b in zip(made["ours"], made["numpy"], strict=True)
    )
    runs = {
        name: [{"seconds": value, "rate": nbytes / value / 1e9} for value in values] for name, values in seconds.items()
    }
    show(runs, {"GB/s": ("rate", 1), "seconds": ("seconds", 1)})
    print(f"largest relative difference from NumPy's float64 mean: {error:.1e}", file=sys.stderr)
    emit({"benchmark": "aggregation", **description(), **vars(options), "runs": runs, "largest_difference": error})
    return 0


if __name__ == "__main__":
    sys.exit(main())
