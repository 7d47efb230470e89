"""Keys that are the same in every run of the tests. Never use one for anything else: its seed is its name."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainstem.protocol.messages import Admission, SiteKey
from mainstem.protocol.signing import SigningKey


def key_of(name: str) -> SigningKey:
    """The key whose 32 private bytes are the SHA-256 of the name."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


PLATFORM, FORGER = key_of("the platform"), key_of("a forger")


def enrolled(*sites: str, **until: int) -> Admission:
    """A run that admits these sites, each with the key of its name, some until a time in milliseconds."""
    keys = (SiteKey(name=name, key=key_of(name).public, until_ms=until.get(name)) for name in sites)
    return Admission(mode="enrolled", sites=tuple(keys))
