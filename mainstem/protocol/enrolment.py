"""The proof that who enrols a site holds its key: the key's signature over the one-time token's text."""

from __future__ import annotations

import base64

from mainstem.protocol.signing import HEADER, SigningKey, base64url, signed

_PLACE = "mainstem enrolment"
"""Stands for the topic. No topic has a blank in its name, so a proof is no record's signature."""


def proof_of(key: SigningKey, token: str) -> str:
    """The proof for this token, as base64url (RFC 4648) without padding."""
    _, signature = key.sign(_PLACE, token.encode())
    return base64url(signature)


def proves(public: str, token: str, proof: str) -> bool:
    """Whether the holder of this public key made the proof for this token; raises ConfigError where it is no key."""
    try:
        signature = base64.b64decode(proof + "=" * (-len(proof) % 4), altchars=b"-_", validate=True)
    except ValueError:
        signature = b""
    return signed({HEADER: signature}, _PLACE, token.encode("utf-8", "replace"), public)
