"""Who wrote a record: an Ed25519 signature (RFC 8032) in the record's header `signature`.

It is over the topic's name and the SHA-256 of the record's value, so that it holds for no other topic and the value's
bytes stay what the chain's hashes are over; of a packed update over its manifest, which names the value by its hash,
and of a tombstone over its key. The header names its key by the first 16 bytes of the SHA-256 of the public key's 32
bytes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from mainstem.errors import ConfigError
from mainstem.protocol.log import Outgoing
from mainstem.runtime.environ import optional

HEADER = "signature"
"""The header's name."""

SITE_KEY_FILE = "MAINSTEM_SITE_KEY_FILE"
"""The variable that names the file of a client's key."""

PLATFORM_KEY_FILE = "MAINSTEM_PLATFORM_KEY_FILE"
"""The variable that names the file of the platform's key, for whoever writes in its name."""

PLATFORM_KEY = "MAINSTEM_PLATFORM_KEY"
"""The variable that has the platform's public key, for whoever only reads."""

_CONTEXT = b"mainstem-signature-v1\0"
_VERSION = b"\x01"
_ID, _SIGNATURE = 16, 64


class SigningKey:
    """A private key. It never leaves where it was made: a file (mode 0600), or a Secret."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = base64url(private.public_key().public_bytes_raw())
        """The public key as 43 characters of base64url (RFC 4648, without padding)."""
        self._prefix = _VERSION + key_id(self.public)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """The key of an unencrypted PKCS #8 file (RFC 5958); raises ConfigError."""
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"this is no unencrypted private key in PEM: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError("this private key is not one of Ed25519")
        return cls(private)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], variable: str) -> SigningKey | None:
        """The key of the file that the variable names; None where it names none. Raises ConfigError."""
        path = optional(environ, variable)
        if path is None:
            return None
        try:
            return cls.from_pem(Path(path).expanduser().read_bytes())
        except OSError as error:
            raise ConfigError(f"{variable}: {path} cannot be read: {error.strerror}") from error
        except ConfigError as error:
            raise ConfigError(f"{variable}: {path}: {error}") from error

    def pem(self) -> bytes:
        """The key as an unencrypted PKCS #8 file."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, topic: str, value: bytes | memoryview) -> tuple[str, bytes]:
        """The header of a record with this value in this topic."""
        return HEADER, self._prefix + self._private.sign(_message(topic, value))


def signed_by(key: SigningKey | None, topic: str, record: Outgoing) -> Outgoing:
    """The record as the holder of the key writes it; as it is where there is none."""
    if key is None:
        return record
    header = key.sign(topic, said(record.key, record.value))
    return replace(record, headers=(*record.headers, header))


def said(key: bytes | None, value: bytes | memoryview | None) -> bytes | memoryview:
    """What is signed of a record: its value, of a tombstone its key."""
    return (key or b"") if value is None else value


def platform_key(environ: Mapping[str, str], key: SigningKey | None = None) -> str | None:
    """The platform's public key, as its variable has it, else that of the private `key`; None where there is neither.

    Raises ConfigError.
    """
    public = optional(environ, PLATFORM_KEY)
    if public is None:
        return None if key is None else key.public
    try:
        check_public(public)
    except ConfigError as error:
        raise ConfigError(f"{PLATFORM_KEY}: {error}") from error
    if key is not None and key.public != public:
        raise ConfigError(f"{PLATFORM_KEY} is not the public key of the file in {PLATFORM_KEY_FILE}: {key.public} is")
    return public


def by_id(keys: Iterable[str]) -> dict[bytes, str]:
    """Those of the texts that are public keys, by what headers name them by."""
    found: dict[bytes, str] = {}
    for public in keys:
        with contextlib.suppress(ConfigError):
            found[key_id(public)] = public
    return found


def key_id(public: str) -> bytes:
    """By which 16 bytes a header names this public key; raises ConfigError where it is none."""
    return hashlib.sha256(_raw(public)).digest()[:_ID]


def check_public(public: str) -> str:
    """Return `public` if it is a public key; raises ConfigError."""
    _public(public)
    return public


def named(headers: Mapping[str, bytes]) -> bytes | None:
    """The id of the key that a record says it was signed with; None where it has no signature of this version."""
    header = headers.get(HEADER, b"")
    whole = len(header) == 1 + _ID + _SIGNATURE and header.startswith(_VERSION)
    return header[1 : 1 + _ID] if whole else None


def signed(headers: Mapping[str, bytes], topic: str, value: bytes | memoryview, public: str) -> bool:
    """Whether the holder of this public key wrote the record."""
    if named(headers) != key_id(public):
        return False
    try:
        _public(public).verify(headers[HEADER][1 + _ID :], _message(topic, value))
    except InvalidSignature:
        return False
    return True


def _message(topic: str, value: bytes | memoryview) -> bytes:
    name = topic.encode()
    return _CONTEXT + len(name).to_bytes(2, "big") + name + hashlib.sha256(value).digest()


def base64url(raw: bytes) -> str:
    """As base64url (RFC 4648) without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(public: str) -> bytes:
    try:
        raw = base64.b64decode(public + "=", altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32 or base64url(raw) != public:
        raise ConfigError(f"{public[:60]!r} is no public key: one has 43 characters of base64url")
    return raw


@lru_cache(maxsize=4096)
def _public(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(_raw(public))
