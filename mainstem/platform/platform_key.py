"""The key that the platform signs with: made at the first start, in a file that only its owner can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mainstem.platform.key_file import load_or_make
from mainstem.protocol.signing import PLATFORM_KEY, PLATFORM_KEY_FILE, SigningKey, platform_key
from mainstem.runtime.environ import optional
from mainstem.runtime.site import site_of


def key_environ(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What every process is told of the key, and what those are told besides that write in the platform's name.

    The key is that of MAINSTEM_PLATFORM_KEY_FILE, else the one at `path`, which is made. A site is not the platform: it
    has the public key that MAINSTEM_PLATFORM_KEY names, if it names one. Raises ConfigError.
    """
    if site_of(environ) is not None:
        public = platform_key(environ)
        return {} if public is None else {PLATFORM_KEY: public}, {}
    named = optional(environ, PLATFORM_KEY_FILE)
    key = SigningKey.from_environ(environ, PLATFORM_KEY_FILE) or load_or_make(path)[0]
    public = platform_key(environ, key)
    assert public is not None
    return {PLATFORM_KEY: public}, {PLATFORM_KEY_FILE: named or str(path)}
