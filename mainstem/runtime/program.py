"""How a process of ours starts, stops and reports: its arguments and `--help`, its log, signals, exit codes.

    PROGRAM = Program("mainstem.aggregator", "aggregator", "Commits rounds.", {"Kafka": CLOUD, "Its log": LOGS})

    def main(arguments: list[str] | None = None) -> int:
        return run(PROGRAM, work, arguments)  # work(options, stop) returns soon after `stop` is set

SIGTERM and SIGINT end it cleanly, once; from then on another SIGTERM changes nothing, and another SIGINT ends it at
once. What it cannot do is one sentence: in its log, and on standard error where the log is not shown there.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, TextIO

from mainstem.errors import ConfigError, MainstemError
from mainstem.runtime import logs
from mainstem.runtime.exits import Exit
from mainstem.runtime.variables import Groups, help_text

ENDS: Final = (signal.SIGTERM, signal.SIGINT)
"""How a process is asked to end: by who supervises it, and by a person at a terminal."""

CODES: Final = "Exit codes: 0 it ended as it was asked to, 1 it failed, 2 its arguments or settings cannot be used."

Work = Callable[[argparse.Namespace, threading.Event], int | None]
"""What a process is for; its exit code, None for 0. It returns soon after the event is set."""

Handler = Callable[[int, FrameType | None], None]

log = logging.getLogger(__name__)


class Termination(BaseException):
    """SIGINT or SIGTERM arrived. It may arrive anywhere, and what catches every error must let it pass."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


@dataclass(frozen=True, slots=True)
class Program:
    """What people are told of a process that stays: `python -m module`, the name of its log, its variables."""

    module: str
    component: str
    description: str
    variables: Groups
    options: Callable[[argparse.ArgumentParser], object] = field(default=lambda parser: None)
    """Adds its own options to its parser."""
    codes: str = CODES

    def parser(self) -> argparse.ArgumentParser:
        """Of its arguments."""
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}",
            description=textwrap.fill(self.description, 100),
            epilog=f"Settings are environment variables.\n\n{help_text(self.variables)}\n{self.codes}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.options(parser)
        return parser


def run(program: Program, work: Work, arguments: Sequence[str] | None = None, *, stream: TextIO | None = None) -> int:
    """Do the work until it ends or a signal asks for its end; the exit code. The log goes to `stream`, else stderr."""
    options = program.parser().parse_args(arguments)
    logs.configure(program.component, stream=stream)
    try:
        with stopping() as stop:
            return work(options, stop) or Exit.ENDED
    except MainstemError as error:
        log.error("%s", error)
        if not logs.on_screen():
            print(f"error: {error}", file=sys.stderr)
        return Exit.UNUSABLE if isinstance(error, ConfigError) else Exit.FAILED


@contextlib.contextmanager
def stopping(told: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets, after a word to `told`. For the main thread."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        insist()
        told()
        stop.set()

    with handling(end):
        yield stop


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """The first SIGTERM or SIGINT is raised as `Termination` wherever the main thread is."""

    def end(number: int, frame: FrameType | None) -> None:
        insist()
        raise Termination(number)

    with handling(end):
        yield


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Both signals go to `handler`; what was before comes back at the end."""
    before = {number: signal.signal(number, handler) for number in ENDS}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def insist() -> None:
    """The end has begun: another SIGTERM changes nothing, and a SIGINT ends the process at once."""
    signal.signal(signal.SIGTERM, _nothing)  # not SIG_IGN, which a child would inherit
    # The default is the kernel's own doing, so it also reaches a main thread that stands in a library; but not the
    # first process of a container.
    signal.signal(signal.SIGINT, signal.SIG_DFL if os.getpid() != 1 else at_once)


def at_once(number: int, frame: FrameType | None) -> None:
    """A handler that ends the process where it stands."""
    os._exit(128 + number)


def _nothing(number: int, frame: FrameType | None) -> None: ...
