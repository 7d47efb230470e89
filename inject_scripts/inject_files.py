"""Inject a user's own files and announce the stream: .npz, CSV, MNIST IDX or CIFAR-10 binary.

Runs as `python -m inject_scripts.inject_files` and as a file.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if TYPE_CHECKING:
    import numpy as np

    from inject_scripts.readers import Source

KINDS = ("npz", "csv", "idx", "cifar10")

EXAMPLES = """examples:
  %(prog)s mine.npz --data-key x --label-key y --classes 5 --test-rate 0.1
  %(prog)s patients.csv --label-column diagnosis --classes 2 --normalize
  %(prog)s train-images-idx3-ubyte.gz --normalize --data-reshape 784 --offset 5000 --limit 5000
  %(prog)s patients.csv --classes 2 --clients 3 --test-rate 0.1
  %(prog)s data_batch_1.bin data_batch_2.bin --normalize --topic cifar

The last samples of the stream are the test samples: shuffle a file that is sorted by class first.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; its exit code is 0, 1 after an error, 130 after Ctrl-C."""
    from inject_scripts.console import run

    return run(_inject, argv)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    from inject_scripts.console import add_options, rate, whole

    parser = argparse.ArgumentParser(
        prog="inject_files.py",
        description="Inject your own data as one stream and announce it. Files are read row by row, first to say what "
        "was taken; nothing is sent unless every row is good.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="several only for CIFAR-10 batches")
    data = parser.add_argument_group("samples")
    data.add_argument("--kind", choices=KINDS, help="default: by the name (.npz, .csv, .bin) or the first bytes")
    data.add_argument("--offset", type=whole(0), default=0, metavar="N", help="leave out the first N rows (0)")
    data.add_argument("--limit", type=whole(1), metavar="N", help="only the first N rows after them")
    data.add_argument(
        "--clients", type=whole(1), default=1, metavar="N", help="streams to make: rows go to each in turn (1)"
    )
    data.add_argument("--test-rate", type=rate, default=0.0, metavar="R", help="part for test, at the end (0)")
    data.add_argument("--classes", type=whole(2), metavar="N", help="send labels one-hot (IDX, CIFAR-10: 10)")
    data.add_argument(
        "--label-subtract",
        type=int,
        default=0,
        metavar="N",
        help="number to take from each label: 1 for classes 1 to K",
    )
    data.add_argument("--normalize", action="store_true", help="scale to 0..1: images by 255, features by extremes")
    data.add_argument("--dtype", default="float32", help="type to send, or 'stored' (default: %(default)s)")
    data.add_argument("--data-reshape", metavar="SHAPE", help="such as '28 28' or 784 (default: the file's)")
    data.add_argument("--no-labels", action="store_true", help="the file has no labels (.npz, CSV)")
    files = parser.add_argument_group("where things are in the file")
    files.add_argument("--header", choices=("yes", "no"), help="CSV: whether line 1 names the columns")
    files.add_argument(
        "--label-column",
        metavar="NAME|N",
        help="CSV: the label (default: the last); name:NAME or number:N where unclear",
    )
    files.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="NAME|N",
        help="CSV: a column to leave out, or 'none'; repeatable",
    )
    files.add_argument("--delimiter", default=",", metavar="C", help="CSV (default: %(default)s)")
    files.add_argument("--data-key", metavar="NAME", help=".npz: the data (default: x, x_train, data, images)")
    files.add_argument("--label-key", metavar="NAME", help=".npz: the labels (default: y, y_train, labels, target)")
    files.add_argument("--labels", type=Path, metavar="FILE", help="IDX: the labels' file (default: beside it)")
    add_options(parser)
    options = parser.parse_args(argv)
    if len(options.delimiter) != 1:
        parser.error("--delimiter must be one character")
    return options


def _source(options: argparse.Namespace, dtype: np.dtype[Any] | None) -> Source:
    import numpy as np

    from inject_scripts.readers import cifar10_source, csv_source, idx_source, npz_source
    from mainstem.errors import ConfigError

    first: Path = options.files[0]
    suffixes = {".npz": "npz", ".csv": "csv", ".bin": "cifar10"}
    kind = options.kind or suffixes.get(Path(first.name.lower().removesuffix(".gz")).suffix) or _kind(first)
    if kind == "cifar10":
        return cifar10_source(options.files)
    if len(options.files) > 1:
        raise ConfigError(f"{len(options.files)} files were named; only CIFAR-10 has several")
    if kind == "npz":
        return npz_source(first, options.data_key, options.label_key, labelled=not options.no_labels)
    if kind == "csv":
        return csv_source(
            first,
            options.label_column,
            options.delimiter,
            labelled=not options.no_labels,
            header=None if options.header is None else options.header == "yes",
            drop=options.drop,
            dtype=np.dtype("f8") if dtype is None or options.normalize else dtype,
        )
    return idx_source(first, options.labels)


def _kind(path: Path) -> str:
    from inject_scripts.readers.source import BROKEN, opened
    from mainstem.errors import ConfigError

    try:
        with opened(path) as file:
            begin = file.read(2)
    except BROKEN:
        begin = b""
    if begin not in (b"PK", b"\0\0"):
        raise ConfigError(
            f"{path.name}: neither its name nor its first bytes say what it is; say --kind {'|'.join(KINDS)}"
        )
    return "npz" if begin == b"PK" else "idx"


def _inject(argv: Sequence[str] | None) -> int:
    from inject_scripts.console import Progress, announcing, finish, producer
    from inject_scripts.injection import Injector, input_config
    from inject_scripts.samples import prepare
    from inject_scripts.taken import take
    from mainstem.codecs import codec_for, parse_dtype
    from mainstem.errors import ConfigError

    options = _options(argv)
    dtype = None if options.dtype == "stored" else parse_dtype(options.dtype, "--dtype")
    source = _source(options, dtype)
    samples = prepare(
        source,
        offset=options.offset,
        limit=options.limit,
        reshape=options.data_reshape,
        dtype=dtype,
        normalize=options.normalize,
        classes=options.classes,
        subtract=options.label_subtract,
    )
    taken = take(source, samples, options.test_rate)
    if not options.quiet:
        print("\n".join(taken.lines()), file=sys.stderr)
    config = input_config(options.format, samples.x_shape, samples.x_dtype, samples.y_shape, samples.y_dtype)
    codec = codec_for(options.format, config, classes=samples.classes)
    clients = options.clients
    if taken.rows < clients and (clients > 1 or options.offset):
        left = f"{source.name}: {taken.rows} rows are left after --offset {options.offset}"
        raise ConfigError(f"{left}, too few for --clients {clients}")
    sender = producer(options)
    streams: list[dict[str, Any]] = []
    try:
        injector = Injector(sender, codec, announcing(options, config))
        for number in range(clients):
            one = f", client {number + 1} of {clients}" if clients > 1 else ""
            progress = Progress(f"{source.name}{one}", len(range(number, taken.rows, clients)), quiet=options.quiet)
            done = injector.inject(
                itertools.islice(samples.iterate(), number, None, clients),
                topic=options.topic,
                description=f"{options.description or source.name}{one}",
                test_rate=options.test_rate,
                lane=number,
                progress=progress,
            )
            progress.done(done["topic"])
            streams.append({"client": number + 1, **done} if clients > 1 else done)
    except BaseException:
        sender.close(wait=False)
        raise
    sender.close()
    finish(options, streams, input_config=config, taken=taken.as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
