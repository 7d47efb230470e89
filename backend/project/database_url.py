"""DATABASE_URL, taken apart from its end: a password may hold what an address uses itself (`#`, `/`, `?`, `@`)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from mainstem.errors import ConfigError

_SQLITE: Final = re.compile(r"(sqlite)://(?:(:memory:)|/(.+))", re.DOTALL)
_SERVER: Final = re.compile(
    r"""
    (?P<scheme>[a-z][a-z0-9+]*)://
    (?:(?P<user>[^:@/]*)(?::(?P<password>.*))?@)?    # up to the last @ behind which all is an address
    (?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:@/?\#\[\]]*)(?::(?P<port>[0-9]{1,5}))?
    /(?P<name>[^\s/?\#@]*)(?P<options>\?[^@\#?]*)?
    """,
    re.VERBOSE | re.DOTALL,
)


def well_formed(url: str) -> str:
    """The same address with all that is special in its user, password or path percent-encoded; raises ConfigError.

    `%` with two hexadecimal digits stands for a character already (a percent sign is `%25`).
    """
    if found := _SQLITE.fullmatch(url):
        return url if found[2] else f"sqlite:///{_encoded(found[3], safe='/')}"
    found = _SERVER.fullmatch(url)
    if found is None:
        raise ConfigError("DATABASE_URL must read sqlite:///path or postgres://user:password@host:port/name")
    who = _encoded(found["user"] or "")
    if found["password"] is not None:
        who += f":{_encoded(found['password'])}"
    port = f":{found['port']}" if found["port"] else ""
    return f"{found['scheme']}://{who}{'@' if who else ''}{found['host']}{port}/{found['name']}{found['options'] or ''}"


def _encoded(text: str, safe: str = "") -> str:
    return quote(unquote(text, errors="surrogateescape"), safe=safe, errors="surrogateescape")
