"""Inject real handwritten digits for one or more clients and announce their streams.

Runs as `python -m inject_scripts.inject_dummy_training_data` and as a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

EXAMPLES = """examples:
  %(prog)s                                          500 + 50 samples for one client
  %(prog)s --clients 3                              three clients in one topic, a range each
  %(prog)s --clients 10 --alpha 0.3 --seed 7        label skew: few classes a client
  %(prog)s --clients 3 --topic-per-client --format AVRO
  %(prog)s --bootstrap kafka:9092 --restriction '{"set": "digits"}' --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; its exit code is 0, 1 after an error, 130 after Ctrl-C."""
    from inject_scripts.console import run

    return run(_inject, argv)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    from inject_scripts.console import add_options, whole

    parser = argparse.ArgumentParser(
        prog="inject_dummy_training_data.py",
        description="Inject scikit-learn's handwritten digits (8x8, enlarged to 28x28 float32 in 0..1, flat: 784; "
        "one-hot float32 label of 10 as key) and announce one stream for each client, test samples last.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("samples")
    data.add_argument("--clients", type=whole(1), default=1, metavar="N", help="streams to make (default: 1)")
    data.add_argument("--train-samples", type=whole(1), default=500, metavar="N", help="of each client (500)")
    data.add_argument("--test-samples", type=whole(0), default=50, metavar="N", help="of each client (50)")
    data.add_argument("--alpha", type=float, metavar="A", help="Dirichlet label skew; without it clients are IID")
    data.add_argument("--seed", type=whole(0), default=0, metavar="N", help="same seed, same samples (0)")
    data.add_argument("--topic-per-client", action="store_true", help="topics TOPIC-1, TOPIC-2, ...")
    add_options(parser)
    options = parser.parse_args(argv)
    if options.alpha is not None and not 0 < options.alpha < 1e6:
        parser.error("--alpha must be above 0")
    return options


def _inject(argv: Sequence[str] | None) -> int:
    import numpy as np

    from inject_scripts.console import ProgressLine, announcing, finish, producer
    from inject_scripts.digits import CLASSES, SIDE, TOTAL, shard_sizes, shards
    from inject_scripts.injection import Injector, input_config
    from mainstem.streams.codecs import codec_for

    options = _options(argv)
    clients = options.clients
    train, test, even = shard_sizes(clients, options.train_samples, options.test_samples)
    if even and not options.quiet:
        print(
            f"note: the set has {TOTAL} digits, too few for {clients} x "
            f"{options.train_samples + options.test_samples}: each client gets {train} + {test}",
            file=sys.stderr,
        )
    float32 = np.dtype(np.float32)
    config = input_config(options.format, (SIDE * SIDE,), float32, (CLASSES,), float32)
    codec = codec_for(options.format, config, classes=CLASSES)
    sender = producer(options)
    streams: list[dict[str, Any]] = []
    try:
        injector = Injector(sender, codec, announcing(options, config))
        parts = shards(clients, train, test, alpha=options.alpha, seed=options.seed)
        onehot = np.eye(CLASSES, dtype=np.float32)
        for number, shard in enumerate(parts, 1):
            progress = ProgressLine(
                f"client {number}/{clients}", len(shard.y), quiet=options.quiet, lines=options.progress
            )
            description = options.description or "Handwritten digits"
            done = injector.inject(
                zip(shard.x, onehot[shard.y], strict=True),
                topic=f"{options.topic}-{number}" if options.topic_per_client else options.topic,
                description=f"{description}, client {number} of {clients}" if clients > 1 else description,
                test_rate=shard.test / len(shard.y),
                lane=number - 1,
                progress=progress,
            )
            progress.done(done["topic"])
            classes = np.bincount(shard.y, minlength=CLASSES).tolist()
            streams.append({"client": number, **done, "classes": classes})
    except BaseException:
        sender.close(wait=False)
        raise
    sender.close()
    finish(options, streams, input_config=config, seed=options.seed, alpha=options.alpha)
    return 0


if __name__ == "__main__":
    sys.exit(main())
