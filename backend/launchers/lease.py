"""The lease of a database: who launches Jobs and writes to Kafka for it. Whoever comes second waits, or is refused.

It is held by whoever renews it, and on one machine by whoever's process lives: a dead one is seen at once there, and
elsewhere once its lease has run out. Times are the database's, so that no clock but its own counts.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from backend.launchers.models import Lease
from mainstem.runtime.processes import identity

log = logging.getLogger(__name__)

NAME: Final = "platform"
SECONDS: Final = 20.0
"""Until the lease of a launcher that renews it no more is another's."""
OWNER: Final = "MAINSTEM_LEASE"
"""Names the platform that a launcher belongs to, which took the lease for it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks for the lease. `start` is when its process began, as `mainstem.runtime.processes.identity` tells."""

    owner: str
    told: str
    place: str
    pid: int
    start: int | None

    @staticmethod
    def of(told: str, pid: int | None = None, owner: str = "") -> Holder:
        """A process of this machine, this one where none is named; a random owner where none is given."""
        pid = pid or os.getpid()
        return Holder(owner or secrets.token_hex(16), told[:300], place(), pid, identity(pid))

    @staticmethod
    def launcher(environ: Mapping[str, str] = os.environ) -> Holder:
        """This process, for the platform that started it where one did."""
        return Holder.of("a launcher", owner=environ.get(OWNER, "").strip())


def place() -> str:
    """Where process numbers mean what they mean here."""
    parts = [socket.gethostname()]
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts += [file.read().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        pass
    return " ".join(parts)[:200]


def claim(holder: Holder, seconds: float = SECONDS) -> Lease | None:
    """Take or renew the lease for so long; None where that is done, else whose it is. Raises DatabaseError."""
    with transaction.atomic():
        now = _now()
        row, _ = Lease.objects.select_for_update().get_or_create(name=NAME, defaults={"since": now, "expires_at": now})
        if row.owner != holder.owner:
            if _lives(row, holder.place, now):
                return row
            row.owner, row.told, row.since = holder.owner, holder.told, now
            row.place, row.pid, row.start = holder.place, holder.pid, holder.start
        row.expires_at = now + timedelta(seconds=seconds)
        row.save()
    return None


def give_back(holder: Holder) -> None:
    """The next one need not wait. Raises DatabaseError."""
    Lease.objects.filter(name=NAME, owner=holder.owner).update(owner="", expires_at=_now())


def living() -> Lease | None:
    """The lease as somebody holds it now; None where nobody does. Raises DatabaseError."""
    row = Lease.objects.filter(name=NAME).first()
    return row if row is not None and _lives(row, place(), _now()) else None


def sentence(row: Lease) -> str:
    """Who has the database, since when, for people."""
    host = row.place.partition(" ")[0]
    since = row.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{row.told or 'another Mainstem'}, process {row.pid} on {host}, has had this database since {since}"


def refusal(row: Lease) -> str:
    """Why a platform cannot have the database, and what to do."""
    return f"{sentence(row)}: stop that one first, or give this one a database of its own with DATABASE_URL"


def login_of(*values: str) -> str:
    """What tells that logins were made from these secrets, and tells nobody these."""
    return salted_hmac("mainstem.lease.login", "\0".join(values), algorithm="sha256").hexdigest()


def note_login(login: str) -> None:
    """The first logins are of these secrets from now on. Raises DatabaseError."""
    now = _now()
    row, _ = Lease.objects.get_or_create(name=NAME, defaults={"since": now, "expires_at": now})
    Lease.objects.filter(pk=row.pk).update(login=login)


def _now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()  # its file is on this machine
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _lives(row: Lease, here: str, now: datetime) -> bool:
    if not row.owner:
        return False
    if row.place == here and row.start is not None:
        return identity(row.pid) == row.start
    return row.expires_at > now


class Tenure:
    """The lease as one launcher holds it; for any thread. `clock` is in seconds."""

    def __init__(self, holder: Holder, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.holder, self._seconds, self._clock = holder, seconds, clock
        self._lock = threading.Lock()
        self._renewed = float("-inf")
        self._asked = float("-inf")
        self.other: Lease | None = None
        """Who has it instead."""
        self.lost = False
        """Whether another took it from us: what we do must end."""

    def held(self) -> bool:
        """Whether it is ours now; renews it in time. Without the database it is ours until it has run out."""
        with self._lock:
            pause = self._seconds / (5 if self._ours() else 20)
            if self.lost or self._clock() - self._asked < pause:
                return not self.lost and self._ours()
            self._asked = self._clock()
            try:
                self.other = claim(self.holder, self._seconds)
            except DatabaseError as error:
                log.warning("the lease of the database cannot be renewed now: %s", error)
                return self._ours()
            if self.other is not None:
                self.lost = self._renewed > float("-inf")
                return False
            self._renewed = self._asked
            return True

    def _ours(self) -> bool:
        return self._clock() - self._renewed < self._seconds

    def give_back(self) -> None:
        """At the end; where the database is away it runs out by itself."""
        try:
            give_back(self.holder)
        except DatabaseError as error:
            log.warning("the lease of the database is not given back: %s", error)
