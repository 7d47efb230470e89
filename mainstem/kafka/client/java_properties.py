"""Property files as Java reads and writes them: escapes, values over several lines (`java.util.Properties`). No I/O."""

from __future__ import annotations

import re
from typing import Final

from mainstem.errors import ConfigError

BLANK: Final = " \t\f"
_PLAIN: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "\\": "\\", **{c: c for c in " :=#!"}}
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_PAIR: Final = re.compile(r"((?:\\.|[^\\:=])*?)[ \t\f]*[:=](.*)", re.DOTALL)
_WRITTEN: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def parsed(text: str, where: str) -> dict[str, str]:
    """The properties of a file's text; raises ConfigError naming `where` and the line.

    A backslash that begins no escape stays, where Java would drop it; a name alone on its line is refused.
    """
    found: dict[str, str] = {}
    lines = iter(enumerate(re.split(r"\r\n|\r|\n", text), 1))
    for number, line in lines:
        whole = line.lstrip(BLANK)
        if not whole or whole[0] in "#!":
            continue
        while _continues(whole):
            whole = whole[:-1] + next(lines, (0, ""))[1].lstrip(BLANK)
        pair = _PAIR.fullmatch(whole)
        if pair is None:
            raise ConfigError(f"{where} line {number} must read name=value")
        found[_unescaped(pair[1])] = _unescaped(pair[2].lstrip(BLANK))
    return found


def line(name: str, value: str) -> str:
    """`name=value` so that Java reads back exactly these; in ASCII, since Java reads such files as Latin-1."""
    return f"{_escaped(name, ' :=#!')}={_escaped(value, '', leading=True)}\n"


def _continues(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    def meant(found: re.Match[str]) -> str:
        after = found[1]
        return chr(int(after[1:], 16)) if len(after) == 5 else _PLAIN.get(after, found[0])

    # two escapes may be the halves of one character
    return _ESCAPE.sub(meant, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(text: str, special: str, *, leading: bool = False) -> str:
    written = "".join(f"\\{c}" if c in special else _WRITTEN.get(c, c) for c in text)
    if leading and written.startswith(" "):
        written = f"\\{written}"
    units = written.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)
