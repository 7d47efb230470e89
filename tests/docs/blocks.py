"""What the pages print for people to type: fenced blocks, and commands within sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
SHELL = ("bash", "sh")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, `language` empty where it has none; `line` is where its fence stands."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which the table of set-ups names it."""
        return self.text.partition("\n")[0]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.first[:60]}"


def text_of(page: str) -> str:
    """The page."""
    return (ROOT / page).read_text("utf-8")


def blocks_of(page: str) -> list[Block]:
    """Its blocks, in order."""
    text = text_of(page)
    return [Block(page, text[: m.start()].count("\n") + 1, m[1], m[2]) for m in _FENCE.finditer(text)]


def spans_of(page: str) -> list[str]:
    """The texts between backticks of its sentences and tables."""
    return _SPAN.findall(_FENCE.sub("", text_of(page)))


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a shell's text, without assignments, redirections and comments."""
    plain = re.sub(r"\\\n\s*", " ", text)
    plain = re.sub(r"(?:^|[ \t]+)#(?: .*)?$", "", plain, flags=re.MULTILINE)
    plain = re.sub(r"\$\((?:[^()]|\([^()]*\))*\)", "SUBSTITUTED", plain)
    plain = re.sub(r"<[a-z]+>", "ddy6heod", plain)
    lexer = shlex.shlex(plain + "\n", posix=True, punctuation_chars=";|&<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(";|&\n"):
            if words:
                yield words
            words = []
        elif words or not re.fullmatch(r"(?:export|[A-Z_]+=.*)", word, re.DOTALL):
            words.append(word)
