"""List the training Jobs, or print the log of one."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from mainstem.cli.output import Output, visible
from mainstem.errors import ConfigError
from mainstem.platform.home import Home
from mainstem.rest import Api, ApiError

HELP = "list training Jobs, or print the log of one"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("name", nargs="?", help="of the Job whose log is printed; without it all Jobs are listed")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print them."""
    with Api.connect(home) as api:
        if options.name:
            log = _log(api, options.name)
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


def _log(api: Api, name: str) -> str:
    try:
        return api.text(f"jobs/{quote(name, safe='')}/log/")
    except ApiError as error:
        if error.status != 404:
            raise
        raise ConfigError(f"there is no Job {name[:100]!r}: `mainstem jobs` lists them") from error
