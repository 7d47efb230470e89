"""Records of FEDERATED_MODEL_CONTROL_TOPIC: an announcement, or a tombstone that withdraws it; signed, and judged."""

from __future__ import annotations

from mainstem.errors import ConfigError, DecodeError
from mainstem.protocol import signing
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Announcement, decode_announcement, encode
from mainstem.protocol.signing import SigningKey
from mainstem.protocol.topics import MODEL_CONTROL, check_federation_id


def announced(announcement: Announcement, key: SigningKey | None = None, partition: int = 0) -> Outgoing:
    """The record of an announcement, in the name of the platform that has this key."""
    value = encode(announcement)
    record = Outgoing(value, key=announcement.federation.encode(), partition=partition)
    return signing.signed_by(key, MODEL_CONTROL, record)


def withdrawn(federation: str, key: SigningKey | None = None, partition: int = 0) -> Outgoing:
    """The tombstone of a federation."""
    return signing.signed_by(key, MODEL_CONTROL, Outgoing(None, key=federation.encode(), partition=partition))


def read(record: Record, platform: str | None = None) -> tuple[str, Announcement | None]:
    """Which federation a record is about, and what it announces; None where it withdraws it.

    Raises DecodeError where it counts for nothing: not readable, or not signed with the `platform` key; where that is
    not known, with the one that it names itself.
    """
    try:
        federation = check_federation_id((record.key or b"").decode("ascii", "replace"))
    except ConfigError as error:
        raise DecodeError(f"the announcement's key is no federation id: {error}") from error
    announcement = None if record.value is None else decode_announcement(record.value)
    if announcement is not None and announcement.federation != federation:
        raise DecodeError(f"the announcement's key is {federation}, but it names {announcement.federation[:80]!r}")
    key = platform if platform is not None or announcement is None else announcement.platform
    said = signing.said(record.key, record.value)
    if key is not None and not signing.signed(record.headers, record.topic, said, key):
        named = (
            ""
            if announcement is None or announcement.platform in (None, key)
            else (f"; it names the platform {announcement.platform}")
        )
        raise DecodeError(f"it is not signed with the platform's key {key}{named}")
    return federation, announcement
