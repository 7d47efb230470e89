"""What commands print: for a person on a terminal, or one JSON value for a program.

Results go to stdout; progress, notices and errors go to stderr, so a pipe gets the result alone.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mainstem.errors import MainstemError

PIPE_WIDTH = 1 << 20
"""Columns of what is no terminal: a name or a hash that goes to another program is never cut into lines."""


class UsageError(MainstemError):
    """The arguments do not make sense together; the exit code is 2."""


def visible(text: str) -> str:
    """`text` as a terminal may have it: what moves its cursor or turns its lines is shown by its code.

    Names and sentences come from peers' records; only line ends and tabs among their control characters are taken.
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in hidden else c.encode("unicode_escape").decode() for c in text
    )


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        self.err = Console(file=sys.stderr, highlight=False, stderr=True)

    def say(self, text: str) -> None:
        """A notice, to stderr."""
        self.err.print(escape(visible(text)), soft_wrap=True)

    def error(self, text: str) -> None:
        """An error, one sentence, to stderr."""
        if self.as_json:
            print(json.dumps({"error": text}), file=sys.stderr)
        else:
            self.err.print(f"[bold red]error:[/] {escape(visible(text))}", soft_wrap=True)

    def result(self, value: Any) -> None:
        """The result as JSON: indented on a terminal, else one line."""
        print(json.dumps(value, indent=2 if sys.stdout.isatty() else None), flush=True)

    def show(self, *parts: str | tuple[str, str]) -> None:
        """A line of the result; a part may be (text, style)."""
        seen = [visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts]
        self.out.print(Text.assemble(*seen), soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """The result as a table."""
        if not rows:
            self.out.print(f"{escape(title)}: none")
            return
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape("-" if cell is None else visible(str(cell))) for cell in row))
        self.out.print(table)


class Preparation:
    """Shows steps and a download's share: a bar on a terminal, lines elsewhere. A callable for `prepare`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Progress | None = None
        self._what = ""
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __call__(self, what: str, share: float | None) -> None:
        """See `mainstem.kafka.broker.prepare.Say`."""
        if not self._output.err.is_terminal:
            tenth = int((share or 0.0) * 10)
            if (what, tenth) != (self._what, self._tenth):
                self._what, self._tenth = what, tenth
                self._output.say(what if share is None else f"{what}: {tenth * 10} %")
            return
        if self._bar is None:
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
            self._bar = Progress(*columns, console=self._output.err)
            self._bar.start()
        if what != self._what:
            self._what = what
            self._task = self._bar.add_task(what, total=None if share is None else 1.0)
        if share is not None:
            self._bar.update(self._task, completed=share)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
