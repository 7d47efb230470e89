"""Write a run to one file that `mainstem verify --file` proves on a machine without Kafka.

The file is a zip archive of stored entries: the records that some version names, byte for byte, and a manifest with
the sha256 of all of them, and with what was witnessed of the log's end. Keep the manifest's sha256, which is printed,
apart from the file: it stands for all of it. The exit code is 1 where the log is not the witnessed one; the file then
says so as well.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path

from mainstem.cli import source, witnessing
from mainstem.cli.output import Output
from mainstem.lineage import export
from mainstem.platform.home import Home

HELP = "write a run to one file that proves itself"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    source.arguments(parser, file=False)
    witnessing.argument(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: FEDERATION.mainstem)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Write it."""
    with source.opened(options, home) as (log, federation):
        statement = witnessing.statement_for(options, home, output, log, federation)
        target = options.output or Path(f"{federation}.mainstem")
        done = export(log, federation, target, software=f"mainstem {_version()}", statement=statement)
    if done.incomplete:
        versions = ", ".join(map(str, done.incomplete))
        output.say(f"what these versions were made of is no longer in the log: {versions}")
    if options.json:
        output.result(
            {
                "federation": federation, "file": str(done.path), "bytes": done.nbytes, "records": done.records,
                "versions": done.versions, "incomplete": list(done.incomplete), "manifest_sha256": done.sha256,
                "unwitnessed": done.objection,
            }
        )  # fmt: skip
    else:
        size = f"{done.nbytes / 1e6:,.1f} MB"
        output.out.print(f"{done.path}: {done.versions} versions, {done.records} records, {size}", soft_wrap=True)
        output.out.print(f"sha256 of the manifest: {done.sha256}", soft_wrap=True)
    if done.objection:
        output.error(done.objection)
    return 1 if done.objection else 0


def _version() -> str:
    try:
        return metadata.version("mainstem")
    except metadata.PackageNotFoundError:
        return "(not installed)"
