"""Checking a name and password, with guessing slowed down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts.models import LoginCount, User
from backend.audit.models import Means, Result
from backend.audit.recording import note
from backend.gate import peers
from backend.site.speakers import address_of
from mainstem.errors import MainstemError

_Found = TypeVar("_Found")

WIDER = 10
"""A name over all addresses, and an address over all names, may fail so many times more often. Beyond it each name
has one wrong password an address: guessing many names from one address, or one name from many, is slow, and nobody
who has not failed himself is kept out by those who share his address, or who know his name."""

FORGOTTEN = 20
"""Rows that one wrong password may delete; it makes at most three."""


class TooManyFailuresError(MainstemError):
    """The name failed too often from this address; `wait` is in seconds."""

    def __init__(self, wait: int, what: str = "passwords") -> None:
        super().__init__(f"Too many wrong {what}: try again in {wait // 60 + 1} minutes.")
        self.wait = wait


def check(request: HttpRequest, username: str, password: str) -> User | None:
    """The user of that name and password, or None; raises TooManyFailuresError."""
    name = username.casefold()[:150]
    user = guessed(request, name, lambda: authenticate(request, username=username, password=password))
    if user is None:
        _record(name)
    return user if isinstance(user, User) else None


def guessed(
    request: HttpRequest, name: str, find: Callable[[], _Found | None], what: str = "passwords"
) -> _Found | None:
    """What `find` finds where somebody may be guessing, None where it is nothing; raises TooManyFailuresError.

    What was found out is told only where the count, which is locked meanwhile, allows one more wrong guess: so
    guesses that are made at the same time learn no more than those made one after another.
    """
    address = peers.household(address_of(request))
    if wait := _count(name, address):
        raise TooManyFailuresError(wait, what)
    found = find()
    if wait := _count(name, address, wrong=found is None, right=found is not None):
        raise TooManyFailuresError(wait, what)
    if found is None:
        _forget()
    return found


def _record(name: str) -> None:
    """A name that nobody has may be a password in the wrong field: it is not kept."""
    user = User.objects.filter(username__iexact=name).first()
    note("session.fail", user or ("", "a name that nobody has"), Result.FAILED, who="", by=Means.PASSWORD)


@transaction.atomic
def _count(name: str, address: str, *, wrong: bool = False, right: bool = False) -> int:
    """Count a wrong password, or forget the name's from this address: 0, or the seconds it must wait uncounted."""
    now = timezone.now()
    keys = [(name, address), (name, ""), ("", address)]
    LoginCount.objects.bulk_create(  # which also locks the rows, always in one order
        [LoginCount(username=of, address=at, began=now) for of, at in sorted(keys)],
        update_conflicts=True,
        unique_fields=["username", "address"],
        update_fields=["username"],
    )
    theirs = Q(username=name, address__in=[address, ""]) | Q(username="", address=address)
    counts = {(row.username, row.address): row for row in LoginCount.objects.filter(theirs)}
    for row in counts.values():
        if row.began <= _since(now):
            row.began, row.failures = now, 0
    pair = counts[name, address]
    if wait := _wait(pair, max(counts[key].failures for key in keys[1:]), now):
        return wait
    for row in counts.values():
        row.failures += wrong
    if right:
        pair.failures = 0
    LoginCount.objects.bulk_update(counts.values(), ["began", "failures"])
    return 0


def _forget() -> None:
    """Delete some rows whose time is over, each by itself: so that nobody waits in a circle."""
    old = LoginCount.objects.filter(began__lte=_since(timezone.now()))
    for pk in old.values_list("pk", flat=True)[:FORGOTTEN]:
        old.filter(pk=pk).delete()


def _wait(pair: LoginCount, wide: int, now: datetime) -> int:
    """Seconds until the name may be tried from the address again; 0: now."""
    most = settings.LOGIN_FAILURES if wide < settings.LOGIN_FAILURES * WIDER else 1
    if pair.failures < most:
        return 0
    return max(1, int((pair.began - _since(now)).total_seconds()))


def _since(now: datetime) -> datetime:
    return now - timedelta(seconds=settings.LOGIN_WINDOW_SECONDS)
