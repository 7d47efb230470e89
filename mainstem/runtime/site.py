"""Which site a process belongs to, where several share one cloud: MAINSTEM_SITE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mainstem.errors import ConfigError

_SITE = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def site_of(environ: Mapping[str, str]) -> str | None:
    """The site's name, None in the cloud itself; raises ConfigError.

    Every site's control logger must read all of the cloud's control records, so each has a consumer group of its own.
    """
    name = environ.get("MAINSTEM_SITE", "").strip()
    if name and not _SITE.fullmatch(name):
        raise ConfigError(f"MAINSTEM_SITE is {name[:60]!r}; it must be at most 32 of a-z, 0-9 and '-'")
    return name or None
