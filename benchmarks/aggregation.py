"""`python -m benchmarks.aggregation`: folding updates alone, in GB/s of updates, beside NumPy and memory bandwidth.

The updates lie in memory, so this is the fold and nothing else. `copy` is what this machine's memory gives: bytes
copied a second by NumPy from one large array to another. NumPy's mean is `average` in float64 over stacked updates.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.machine import description
from benchmarks.stats import emit, show
from mainstem.blocks import reader
from mainstem.messages import Accepted, Base
from mainstem.reduction import reduce_in_blocks
from mainstem.strategies.fedavg import FedAvg
from mainstem.weights import Tensor


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

    base = Base(seq=0, version=0)
    given = [
        Accepted(
            client="c", offset=number, sha256="", record="", nbytes=0, base=base, number=0, examples=int(weight),
            coefficient=weight, received_ms=0,
        )
        for number, weight in enumerate(weights)
    ]  # fmt: skip

    def in_threads(count: int) -> None:
        readers = [(item, reader(update)) for item, update in zip(given, updates, strict=True)]
        made["ours"] = reduce_in_blocks(FedAvg({}), updates[0], readers, count)

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
