"""Enrolling, changing and revoking sites. A token counts once, whoever comes at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework import status
from rest_framework.serializers import BaseSerializer

from backend.accounts import login
from backend.accounts.models import User
from backend.audit.models import Means, Result
from backend.audit.recording import note, recorded
from backend.deployments import services as runs
from backend.rest.problems import Problem
from backend.sites import admission
from backend.sites.models import Enrolment, Site
from mainstem.errors import ConfigError
from mainstem.protocol.enrolment import proves
from mainstem.protocol.signing import check_public

GUESSED: Final = "an enrolment token"
"""In the place of a user's name where wrong tries are counted; no user's name has a blank."""
HOURS: Final = 24
"""How long a token may be used, where nothing else is asked."""
MOST_HOURS: Final = 720


def invite(asked: Mapping[str, Any], user: User) -> tuple[Enrolment, str]:
    """A token for a site of the name that is asked for, and its text; raises Problem where there is that site."""
    name, until = asked["name"], asked.get("valid_until")
    if Site.objects.filter(name__iexact=name).exists():
        raise _taken(name)
    if until is not None and until <= timezone.now():
        raise Problem(status.HTTP_400_BAD_REQUEST, "This is over already: give a later time.", field="valid_until")
    expires = timezone.now() + timedelta(hours=asked.get("hours") or HOURS)
    with recorded("enrolment.create", detail=f"until {expires:%Y-%m-%d %H:%M} UTC") as act:
        made, text = Enrolment.issue(name, expires, user, until)
        act.of(made.identity)
    return made, text


def withdraw(enrolment: Enrolment) -> None:
    """It enrols nobody any more; raises Problem where it has."""
    with recorded("enrolment.end", enrolment.identity):
        if not Enrolment.objects.filter(pk=enrolment.pk, used_at=None).delete()[0]:
            raise Problem(
                status.HTTP_409_CONFLICT, f"It has enrolled the site {enrolment.name}: revoke the site instead."
            )


def enrol(request: HttpRequest, asked: Mapping[str, Any]) -> tuple[Site, bool]:
    """The site that `token` (a token's text), `key`, `proof` and perhaps `name` make, and whether it is new.

    Who asks again with the same key is answered the same: the first answer may have been lost. Raises Problem.
    """
    refused: list[Problem] = []

    def find() -> Enrolment | None:
        try:
            return _usable(asked)
        except Problem as problem:
            refused.append(problem)
            return None

    try:
        enrolment = login.guessed(request, GUESSED, find, "enrolment tokens")
    except login.TooManyFailuresError as error:
        raise Problem(status.HTTP_429_TOO_MANY_REQUESTS, str(error), wait=error.wait) from error
    if enrolment is None:
        note("enrolment.fail", ("", asked.get("name") or ""), Result.FAILED, str(refused[0]), who="", by=Means.TOKEN)
        raise refused[0]
    try:
        return _enrol(enrolment, asked["key"])
    except IntegrityError as error:
        raise _taken(enrolment.name) from error


def _usable(asked: Mapping[str, Any]) -> Enrolment:
    found = Enrolment.objects.select_related("site").filter(digest=Enrolment.hash(asked["token"])).first()
    if found is None:
        raise _no_token("This enrolment token is not known: copy the whole of it, or ask for another one.")
    try:
        proved = proves(check_public(asked["key"]), asked["token"], asked["proof"])
    except ConfigError as error:
        raise Problem(status.HTTP_400_BAD_REQUEST, f"{error}.", field="key") from error
    if not proved:
        told = "The proof is not this key's signature over this token: nobody enrols the key of another."
        raise Problem(status.HTTP_400_BAD_REQUEST, told, field="proof")
    if asked.get("name") and asked["name"] != found.name:
        told = f"This token is for the site {found.name}: leave the name out, or give that one."
        raise Problem(status.HTTP_409_CONFLICT, told, field="name")
    _check_unused(found, asked["key"])
    return found


def _check_unused(found: Enrolment, key: str) -> None:
    if found.site is not None and found.site.key == key and found.site.revoked_at is None:
        return
    if found.used_at is not None:
        raise _no_token(
            f"This enrolment token was used at {found.used_at:%Y-%m-%d %H:%M} UTC, and it counts once: ask for another "
            "one. If it was not you, have the site revoked."
        )
    if found.expired:
        raise _no_token(f"This enrolment token expired at {found.expires_at:%Y-%m-%d %H:%M} UTC: ask for another one.")


@transaction.atomic
def _enrol(enrolment: Enrolment, key: str) -> tuple[Site, bool]:
    now = timezone.now()
    unused = Enrolment.objects.filter(pk=enrolment.pk, used_at=None, expires_at__gt=now)
    if not unused.update(used_at=now):  # of several at once the database lets one through
        enrolment = Enrolment.objects.select_related("site").filter(pk=enrolment.pk).first() or enrolment
        _check_unused(enrolment, key)
        if enrolment.site is None:
            raise _no_token("This enrolment token was withdrawn: ask for another one.")
        return enrolment.site, False
    site = Site.objects.create(name=enrolment.name, key=key, valid_until=enrolment.valid_until)
    site.owners.set([enrolment.owner] if enrolment.owner is not None else [])
    Enrolment.objects.filter(pk=enrolment.pk).update(site=site)
    told = f"by token #{enrolment.pk} of {enrolment.owner}" if enrolment.owner else f"by token #{enrolment.pk}"
    note("site.enrol", site, detail=told, who=f"site {site.name}", by=Means.TOKEN)
    return site, True


def change(asked: BaseSerializer[Site]) -> Site:
    """Save a checked change of a site's owners, end or allow list."""
    assert asked.instance is not None
    with recorded("site.change", asked.instance, ", ".join(sorted(asked.validated_data))):
        return asked.save()


def revoke(site: Site, user: User, why: str) -> None:
    """From now on no run that is opened admits it, and those of ours that go on are asked to put it out; raises Problem
    where it is revoked already."""
    with recorded("site.revoke", site, why):
        fields = {"revoked_at": timezone.now(), "revoked_by": user.get_username(), "revoked_why": why}
        if not Site.objects.filter(pk=site.pk, revoked_at=None).update(**fields):
            raise Problem(status.HTTP_409_CONFLICT, f"The site {site.name} is revoked already.")
        for deployment in admission.admitting(site):
            if not deployment.external and not deployment.ended:
                runs.admit(deployment, admission.remaining(deployment), user)


def _no_token(told: str) -> Problem:
    return Problem(status.HTTP_400_BAD_REQUEST, told, field="token")


def _taken(name: str) -> Problem:
    told = f"A site {name}, or this key, was enrolled before; a name stands for one key for ever: choose another name."
    return Problem(status.HTTP_409_CONFLICT, told, field="name")
