"""Fill the database from Kafka: runs, rounds, versions, clients and streams, as the control topics tell them.

For a database that was lost or is new; what it holds already is left alone, and it may be repeated while the platform
runs. Users, and models and configurations that no run shows, are not in Kafka: they come from an ordinary backup.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from mainstem.cli.output import Output
from mainstem.cli.where import cloud_kafka, data_kafka
from mainstem.errors import MainstemError
from mainstem.platform import secret_settings
from mainstem.platform.home import Home
from mainstem.platform.plan import BOOTSTRAP, MIGRATE, manage
from mainstem.runtime.endpoints import CLOUD_SERVERS, data_environ
from mainstem.runtime.processes import run_child

HELP = "fill an empty database from Kafka"
REFUSALS_SHOWN = 10


class RebuildError(MainstemError):
    """The database was not filled; the message says why."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options of its own."""


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Make the tables where there are none, then fill them."""
    environment = {
        **os.environ,
        **secret_settings.read(home.settings),
        CLOUD_SERVERS: cloud_kafka(home).servers,
        **data_environ(data_kafka(home)),
        "MAINSTEM_HOME": str(home.root),
        "DATABASE_URL": os.environ.get("DATABASE_URL") or home.database_url,
    }
    if "MAINSTEM_SECRET_KEY" not in environment:
        raise RebuildError(
            f"{home.settings} does not exist: set MAINSTEM_HOME, or MAINSTEM_SECRET_KEY and DATABASE_URL"
        )
    for what, command in (("the tables are there", MIGRATE), ("the users are there", BOOTSTRAP)):
        _call(command, environment)
        output.say(what)
    told: dict[str, Any] = json.loads(_call(manage("rebuild"), environment).splitlines()[-1])
    if options.json:
        output.result(told)
        return 0
    for refused in told["refused"][:REFUSALS_SHOWN]:
        output.say(f"{refused['topic']}:{refused['offset']} counts for nothing: {refused['reason']}")
    output.out.print(
        f"{told['accepted']} control records and {told['streams']} streams are new, {told['duplicates']} were there "
        f"({told['seconds']:.1f} s)"
    )
    return 0


def _call(command: list[str], environment: dict[str, str]) -> str:
    done = run_child(command, env=environment)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RebuildError(f"`{command[-1]}` failed: {lines[-1] if lines else 'it gave no reason'}")
    return done.stdout
