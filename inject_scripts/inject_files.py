"""Inject a user's own files and announce the stream: .npz, CSV, MNIST IDX or CIFAR-10 binary.

Runs as `python -m inject_scripts.inject_files` and as a file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if TYPE_CHECKING:
    import numpy as np

    from inject_scripts.class_counts import ClassCounts
    from inject_scripts.readers import DataSet, Making
    from inject_scripts.readers.words import Words

KINDS = ("npz", "csv", "idx", "cifar10")
MISSING = ("refuse", "drop", "mean")
CATEGORIES = ("one-hot", "codes")
SUFFIXES = {".npz": "npz", ".bin": "cifar10"} | dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".dat", ".data"), "csv")

EXAMPLES = """examples:
  %(prog)s mine.npz --data-key x --label-key y --classes 5 --test-rate 0.1
  %(prog)s patients.csv --label-column diagnosis --classes healthy,sick --normalize
  %(prog)s penguins.csv --label-column species --missing drop --categories one-hot --dry-run
  %(prog)s messwerte.csv --decimal , --encoding cp1252 --classes 3
  %(prog)s train-images-idx3-ubyte.gz --normalize --data-reshape 784 --offset 5000 --limit 5000
  %(prog)s patients.csv --classes healthy,sick --clients 3 --test-rate 0.1
  %(prog)s data_batch_1.bin data_batch_2.bin --normalize --topic cifar

The last samples of the stream are the test samples: a file that is sorted by class needs --shuffle SEED.
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
    parser.add_argument(
        "--dry-run", action="store_true", help="show the first samples and send nothing; needs no Kafka"
    )
    data = parser.add_argument_group("samples")
    data.add_argument("--kind", choices=KINDS, help="default: by the name (.npz, .csv, .bin) or the first bytes")
    data.add_argument("--offset", type=whole(0), default=0, metavar="N", help="leave out the first N rows (0)")
    data.add_argument("--limit", type=whole(1), metavar="N", help="only the first N rows after them")
    data.add_argument(
        "--clients", type=whole(1), default=1, metavar="N", help="streams to make: rows go to each in turn (1)"
    )
    data.add_argument("--test-rate", type=rate, default=0.0, metavar="R", help="part for test, at the end (0)")
    data.add_argument("--shuffle", type=whole(0), metavar="SEED", help="another order of the rows, held in memory")
    data.add_argument(
        "--classes",
        metavar="N|A,B,...",
        help="send labels one-hot: how many there are, or their names in order (words, IDX, CIFAR-10: always)",
    )
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
    files.add_argument("--header", choices=("yes", "no"), help="CSV: whether the first line names the columns")
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
    files.add_argument(
        "--delimiter",
        metavar="C",
        help="CSV: comma, semicolon, tab, space, pipe or a character (default: as the file shows)",
    )
    files.add_argument("--decimal", default=".", metavar="C", help="CSV: what stands before a fraction, . or , (.)")
    files.add_argument(
        "--encoding", metavar="NAME", help="CSV: such as cp1252, latin-1, utf-16 (default: UTF-8, or its mark)"
    )
    files.add_argument("--skip-lines", type=whole(0), default=0, metavar="N", help="CSV: lines before the table (0)")
    files.add_argument("--data-key", metavar="NAME", help=".npz: the data (default: x, x_train, data, images)")
    files.add_argument("--label-key", metavar="NAME", help=".npz: the labels (default: y, y_train, labels, target)")
    files.add_argument("--labels", type=Path, metavar="FILE", help="IDX: the labels' file (default: beside it)")
    cells = parser.add_argument_group("what is no number (CSV, .npz of text)")
    cells.add_argument(
        "--missing",
        choices=MISSING,
        default="refuse",
        help="cells that are empty, NA, ?: refuse them, drop their rows, or put the column's mean there (%(default)s)",
    )
    cells.add_argument(
        "--categories",
        choices=CATEGORIES,
        help="columns of words: a number for each word, or one code from 0 in a number",
    )
    cells.add_argument(
        "--words",
        action="append",
        default=[],
        metavar="COLUMN=A,B,...",
        help="the words of a column in their order, so that sites agree (default: this file's, sorted); repeatable",
    )
    add_options(parser)
    return parser.parse_args(argv)


def _classes(text: str | None) -> tuple[int | None, Words | None]:
    """How many classes there are, and what they are called; raises ConfigError."""
    from inject_scripts.readers.words import parse_words
    from mainstem.errors import ConfigError

    if text is None:
        return None, None
    if not text.strip().isdecimal():
        names = parse_words(text, "--classes")
        return len(names.names), names
    if len(text) > 9 or int(text) < 2:
        raise ConfigError(f"--classes {text:.20} must be at least 2, or the classes' names, such as a,b,c")
    return int(text), None


def _source(options: argparse.Namespace, making: Making) -> DataSet:
    from inject_scripts.readers import Reading, cifar10_source, csv_source, idx_source, npz_source
    from inject_scripts.readers.foreign import head_of, refuse_foreign
    from mainstem.errors import ConfigError

    first: Path = options.files[0]
    for path in options.files:
        refuse_foreign(path, head_of(path))
    kind = options.kind or SUFFIXES.get(Path(first.name.lower().removesuffix(".gz")).suffix) or _kind(first)
    if kind == "cifar10":
        return cifar10_source(options.files)
    if kind == "idx" and len(options.files) == 2 and options.labels is None:
        return idx_source(*options.files)
    if len(options.files) > 1:
        raise ConfigError(f"{len(options.files)} files were named; only CIFAR-10 has several")
    if kind == "npz":
        return npz_source(first, options.data_key, options.label_key, labelled=not options.no_labels, making=making)
    if kind == "csv":
        reading = Reading(
            label=options.label_column,
            labelled=not options.no_labels,
            delimiter=options.delimiter,
            encoding=options.encoding,
            skip=options.skip_lines,
            header=None if options.header is None else options.header == "yes",
            drop=options.drop,
        )
        return csv_source(first, reading, making)
    return idx_source(first, options.labels)


def _making(options: argparse.Namespace, dtype: np.dtype[Any] | None, count: int | None, names: Words | None) -> Making:
    """What to make of cells; raises ConfigError."""
    import numpy as np

    from inject_scripts.readers import Making
    from mainstem.errors import ConfigError

    decimal = {"comma": ",", "point": "."}.get(options.decimal, options.decimal)
    if decimal not in (".", ","):
        raise ConfigError(f"--decimal {options.decimal!r:.20} must be . or ,")
    words = dict(asked.rpartition("=")[::2] for asked in options.words)
    if "" in words:
        raise ConfigError("--words must be COLUMN=A,B,..., such as --words island=Biscoe,Dream,Torgersen")
    return Making(
        missing=options.missing,
        decimal=decimal,
        categories=options.categories,
        words=words,
        classes=names,
        count=count,
        dtype=np.dtype("f8") if dtype is None or options.normalize else dtype,
    )


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
    from inject_scripts.class_counts import take
    from inject_scripts.console import ProgressLine, announcing, finish, producer
    from inject_scripts.injection import Injector, input_config
    from inject_scripts.preview import preview
    from inject_scripts.samples import prepare
    from mainstem.errors import ConfigError
    from mainstem.streams.codecs import codec_for, parse_dtype

    options = _options(argv)
    dtype = None if options.dtype == "stored" else parse_dtype(options.dtype, "--dtype")
    count, names = _classes(options.classes)
    source = _source(options, _making(options, dtype, count, names))
    samples = prepare(
        source,
        offset=options.offset,
        limit=options.limit,
        reshape=options.data_reshape,
        dtype=dtype,
        normalize=options.normalize,
        classes=count,
        class_names=None if names is None else names.names,
        subtract=options.label_subtract,
        shuffle=options.shuffle,
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
    announced = announcing(options, config)
    if options.dry_run:
        return _show(options, preview(source, samples), config, taken)
    sender = producer(options)
    streams: list[dict[str, Any]] = []
    try:
        injector = Injector(sender, codec, announced)
        for number in range(clients):
            one = f", client {number + 1} of {clients}" if clients > 1 else ""
            rows = len(range(number, taken.rows, clients))
            progress = ProgressLine(f"{source.name}{one}", rows, quiet=options.quiet, lines=options.progress)
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


def _show(options: argparse.Namespace, found: dict[str, Any], config: dict[str, Any], taken: ClassCounts) -> int:
    """What --dry-run prints: the preview, on stdout."""
    from inject_scripts.preview import lines

    if options.json:
        about = {"format": options.format, "input_config": config, "taken": taken.as_json(), "preview": found}
        print(json.dumps({"dry_run": True, **about}))
    else:
        print("\n".join([*(taken.lines() if options.quiet else []), *lines(found, config, options.format)]))
        print("Nothing was sent (--dry-run).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
