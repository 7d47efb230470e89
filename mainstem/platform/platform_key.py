"""The key that the platform signs with: made at the first start, in a file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mainstem.errors import ConfigError
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
    key = SigningKey.from_environ(environ, PLATFORM_KEY_FILE) or _load_or_make(path)
    public = platform_key(environ, key)
    assert public is not None
    return {PLATFORM_KEY: public}, {PLATFORM_KEY_FILE: named or str(path)}


def _load_or_make(path: Path) -> SigningKey:
    try:
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path} is a private key, but others may read it: run `chmod 600 {path}`")
            return SigningKey.from_pem(path.read_bytes())
        key, scratch = SigningKey.generate(), path.with_suffix(".new")
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key.pem())
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        return key
    except OSError as error:
        raise ConfigError(f"{path} cannot be made or read: {error.strerror}") from error
