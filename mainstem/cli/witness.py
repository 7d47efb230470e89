"""What was witnessed of the end of a run's log: how many lifecycle records it had, and the sha256 of the newest.

A log that lost its last records is as whole as one that never had them; so the backend notes the end of each log that
it reads, and an exported run carries it. An aggregator commits nothing in a federation whose log is not the one that
was witnessed, until the right log is back, or an admin has accepted the log that there is.

mainstem witness show ddy6heod                  what was witnessed, where the log ends, what was accepted
mainstem witness export ddy6heod -o w.json      keep it elsewhere; --file RUN takes it from an exported run
mainstem witness check ddy6heod --witness w.json   compare the log, or an exported run (--file RUN), with it
mainstem witness import w.json                  have the backend compare, and remember it: after `mainstem rebuild`
mainstem witness accept ddy6heod --why TEXT     go on from what the log holds
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mainstem.cli import source, witnessing
from mainstem.cli.output import Output, UsageError
from mainstem.errors import ConfigError
from mainstem.lineage import RunFile
from mainstem.platform.home import Home
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.witness import Acceptance, Statement, objection_to, witness_of
from mainstem.rest import Api

HELP = "show, keep, compare and accept what was witnessed of a log's end"
POLL_SECONDS = 0.2


def arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, run: Callable[[argparse.Namespace, Home, Output], int]) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
        made.add_argument("--home", type=Path, default=argparse.SUPPRESS, help="state directory, as of all commands")
        made.set_defaults(act=run)
        return made

    show = action("show", "say what was witnessed, where the log ends, and what was accepted; 1: they differ", _show)
    keep = action("export", "write it to a file, to be kept elsewhere", _export)
    for each in (show, keep):
        each.add_argument("federation", nargs="?", help="the federation's id")
        each.add_argument("--file", type=Path, metavar="RUN", help="an exported run, in the place of the backend")
    keep.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: FEDERATION.witness.json)")
    check = action("check", "read the log and compare it; the exit code is 1 where it is another", _check)
    source.arguments(check)
    witnessing.argument(check)
    bring = action("import", "have the backend compare its log with a witness that was kept elsewhere", _import)
    bring.add_argument("path", type=Path, metavar="FILE", help="what `mainstem witness export` wrote")
    bring.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")
    accept = action("accept", "go on from what the log holds, and give up what was witnessed (admins)", _accept)
    accept.add_argument("federation", help="the federation's id")
    accept.add_argument("--why", required=True, metavar="TEXT", help="kept with your name")
    accept.add_argument("--hash", metavar="SHA256", help="only if the log ends with this record")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Do what the action says."""
    return int(options.act(options, home, output))


def _show(options: argparse.Namespace, home: Home, output: Output) -> int:
    if options.file is not None:
        statement = _of_file(options)
        if options.json:
            output.result(msgspec.to_builtins(statement))
        else:
            output.show(f"federation {statement.federation}: witnessed were {statement.witness}")
            _history(statement.acceptances, output)
        return 0
    path = _path_of(options)
    with Api.connect(home) as api:
        told = api.get(path)
    _print(told, options, output)
    return 1 if told["unwitnessed"] else 0


def _export(options: argparse.Namespace, home: Home, output: Output) -> int:
    if options.file is not None:
        statement: Statement | None = _of_file(options)
    else:
        path = _path_of(options)
        with Api.connect(home) as api:
            statement = witnessing.statement_of(api.get(path))
    if statement is None:
        raise ConfigError(f"the backend has witnessed nothing of federation {options.federation} yet")
    target = options.output or Path(f"{statement.federation}.witness.json")
    try:
        with open(target, "xb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(statement), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from error
    if options.json:
        output.result({"file": str(target), **msgspec.to_builtins(statement)})
    else:
        output.show(f"{target}: federation {statement.federation}, {statement.witness}")
    return 0


def _check(options: argparse.Namespace, home: Home, output: Output) -> int:
    with source.opened(options, home) as (log, federation):
        statement = witnessing.statement_for(options, home, output, log, federation)
        if statement is None:
            raise UsageError("no witness is known here: name one with --witness")
        with closing(ControlTopic(log, federation)) as control:
            control.sync()
            hashes = list(control.hashes)
    objection = objection_to(federation, hashes, statement.witness)
    if options.json:
        end = msgspec.to_builtins(witness_of(hashes))
        witness = msgspec.to_builtins(statement.witness)
        output.result({"federation": federation, "witness": witness, "end": end, "unwitnessed": objection})
    elif objection:
        output.error(objection)
    else:
        more = len(hashes) - statement.witness.count
        output.show(f"federation {federation}: the log holds {statement.witness}, and {more} after them")
    return 1 if objection else 0


def _import(options: argparse.Namespace, home: Home, output: Output) -> int:
    statement = witnessing.read(options.path)
    path = f"deployments/{statement.federation}/witness/"
    with Api.connect(home) as api:
        told = api.post(path, msgspec.to_builtins(statement.witness))
        deadline = time.monotonic() + options.timeout
        while told["doubt"]:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the log was not read again within {options.timeout:g} s ({told['doubt']}): is the launcher up?"
                )
            time.sleep(POLL_SECONDS)
            told = api.get(path)
    _print(told, options, output)
    return 1 if told["unwitnessed"] else 0


def _accept(options: argparse.Namespace, home: Home, output: Output) -> int:
    path = f"deployments/{options.federation}/witness/"
    with Api.connect(home) as api:
        end = api.get(path)["end"]
        hash_ = options.hash or (end and end["hash"])
        if not hash_:
            raise ConfigError(f"the log of federation {options.federation} holds no run that could be accepted")
        told = api.post(f"{path}accept/", {"hash": hash_, "why": options.why})
    _print(told, options, output)
    return 0


def _path_of(options: argparse.Namespace) -> str:
    if options.federation is None:
        raise UsageError("name a federation, or an exported run with --file")
    return f"deployments/{options.federation}/witness/"


def _of_file(options: argparse.Namespace) -> Statement:
    with RunFile(options.file) as run:
        if options.federation not in (None, run.federation):
            raise UsageError(f"{options.file} holds federation {run.federation}, not {options.federation}")
        return run.statement


def _print(told: Any, options: argparse.Namespace, output: Output) -> None:
    if options.json:
        output.result(told)
        return
    statement = witnessing.statement_of(told)
    if statement is None:
        output.show(f"federation {told['federation']}: nothing was witnessed yet")
        return
    output.show(f"federation {statement.federation}: witnessed were {statement.witness}")
    if told["unwitnessed"]:
        output.error(told["unwitnessed"])
    elif told["doubt"]:
        output.say(f"the log is about to be read again: {told['doubt']}")
    else:
        output.show(f"the log holds them: it ends with {told['end']['hash']}")
    _history(statement.acceptances, output)


def _history(acceptances: tuple[Acceptance, ...], output: Output) -> None:
    for each in acceptances:
        at = datetime.fromtimestamp(each.time_ms / 1000, UTC)
        given_up = f", and gave up {each.witnessed}" if each.witnessed else ""
        output.show(f"{at:%Y-%m-%d %H:%M} UTC: {each.by} accepted {each.accepted}{given_up}: {each.why}")
