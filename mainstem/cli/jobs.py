"""List the training Jobs, or print the log of one."""

from __future__ import annotations

import argparse

from mainstem.cli.api import Api
from mainstem.cli.output import Output, visible
from mainstem.platform.home import Home

HELP = "list training Jobs, or print the log of one"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("name", nargs="?", help="of the Job whose log is printed; without it all Jobs are listed")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print them."""
    with Api.connect(home) as api:
        if options.name:
            log = api.text(f"jobs/{options.name}/log/")
        else:
            jobs = list(api.pages("jobs/"))
    if options.name:
        if options.json:
            output.result({"name": options.name, "log": log})
        else:
            print(visible(log), end="" if log.endswith("\n") else "\n")
    elif options.json:
        output.result(jobs)
    else:
        columns = ("name", "state", "attempts", "exit_code", "detail")
        output.table("Jobs", columns, [[job.get(name) for name in columns] for job in jobs])
    return 0
