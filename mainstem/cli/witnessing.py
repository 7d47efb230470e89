"""With which witness the commands compare a run's log: one in a file, the exported run's own, or the backend's."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import msgspec

from mainstem.cli.output import Output, UsageError
from mainstem.errors import DecodeError
from mainstem.lineage import RunFile
from mainstem.platform.home import Home
from mainstem.protocol.log import MessageLog
from mainstem.protocol.witness import LARGEST, Acceptance, Statement, Witness, decode_statement
from mainstem.rest import Api, ApiError


def argument(parser: argparse.ArgumentParser) -> None:
    """The option that names one."""
    parser.add_argument(
        "--witness", type=Path, metavar="FILE",
        help="compare the log with this witness (default: the backend's, where one is known; the exported run's own)",
    )  # fmt: skip


def statement_for(
    options: argparse.Namespace, home: Home, output: Output, log: MessageLog | None, federation: str
) -> Statement | None:
    """Whatever it says was in the log by now: ask it before the log's end. None where there is none.

    A backend that does not answer is said, and no error. Raises UsageError, DecodeError.
    """
    if options.witness is not None:
        statement = read(options.witness)
        if statement.federation != federation:
            raise UsageError(f"{options.witness} is the witness of federation {statement.federation}, not {federation}")
        return statement
    if isinstance(log, RunFile):
        return log.statement
    if options.bootstrap or not (os.environ.get("MAINSTEM_API") or home.is_held()):
        return None  # no backend is known that would know this Kafka
    try:
        with Api.connect(home) as api:
            return statement_of(api.get(f"deployments/{federation}/witness/"))
    except ApiError as error:
        if error.status != 404:
            output.say(f"The log was compared with no witness: {error}")
        return None


def read(path: Path) -> Statement:
    """The statement in a file; raises DecodeError."""
    try:
        with open(path, "rb") as file:
            return decode_statement(file.read(LARGEST))
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error


def statement_of(told: Any) -> Statement | None:
    """What the backend's answer says; None where it has witnessed nothing. Raises DecodeError."""
    try:
        witness = msgspec.convert(told["witness"], Witness | None)
        acceptances = msgspec.convert(told["acceptances"], tuple[Acceptance, ...])
        if witness is None:
            return None
        return Statement(federation=told["federation"], witness=witness, acceptances=acceptances)
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise DecodeError(f"the backend's answer is no witness: {error}") from error
