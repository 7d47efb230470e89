"""Which sites a run admits: from what a person asks for to the protocol's rules, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework import status

from backend.deployments.models import Deployment, OutboxKind, State
from backend.rest.problems import Problem
from backend.sites.models import Site
from mainstem.protocol.messages import Admission

MODES: Final = {
    "open": "open: anyone whom Kafka lets in",
    "enrolled": "enrolled: clients of enrolled sites alone",
}
DEFAULT: Final[Literal["open", "enrolled"]] = "open"
"""Of a run of which nothing is asked. `enrolled` is to be the default as soon as every Job, also one that is started by
hand, has its site's key; until then it would keep them out."""
UNTIL: Final = "one that goes on is asked to put it out, a stopped one as soon as it is resumed"
"""What becomes of runs that admit a site which is revoked."""
OVER: Final = (State.FINISHED, State.DELETING)
"""Of runs that admit nobody any more; a stopped one may be resumed."""


def valid() -> QuerySet[Site]:
    """The sites that a run may admit now."""
    return Site.objects.filter(Q(valid_until=None) | Q(valid_until__gt=timezone.now()), revoked_at=None)


def admission_of(mode: str | None, names: Sequence[str] | None) -> Admission:
    """Whom a run shall admit: without names every site that is enrolled now; raises Problem."""
    mode = mode or ("enrolled" if names else DEFAULT)
    if mode == "open":
        if names:
            raise _wrong("An open run admits anyone: leave sites out, or choose admission enrolled.")
        return Admission()
    sites = list(valid())
    if names:
        known = {site.name.casefold(): site for site in sites}
        missing = [name for name in names if name.casefold() not in known]
        if missing:
            raise _wrong(f"No site {missing[0][:64]!r} is enrolled and valid now: see /sites/.")
        sites = list({known[name.casefold()].name: known[name.casefold()] for name in names}.values())
    if not sites:
        raise _wrong("No site is enrolled yet: make an enrolment token at /sites/new/, or choose admission open.")
    return _of(sites)


def renewed(rules: Mapping[str, Any]) -> Admission:
    """Whom a run that is started anew admits: those of the first whose keys are still valid here; raises Problem."""
    before = admission_in(rules)
    if before.mode == "open":
        return before
    sites = list(valid().filter(key__in=[site.key for site in before.sites]))
    if not sites:
        raise Problem(
            status.HTTP_409_CONFLICT,
            "None of the sites that the run admitted is valid any more: open a new deployment that admits others.",
        )
    return _of(sites)


def remaining(deployment: Deployment) -> Admission:
    """Whom a run admits, or was last asked to, without those that are revoked."""
    orders = deployment.outbox.filter(kind=OutboxKind.COMMAND, payload__action="admission").order_by("-id")
    payload = orders.values_list("payload", flat=True).first()
    wanted = admission_in(deployment.rules if payload is None else payload)
    keys = [site.key for site in wanted.sites]
    revoked = set(Site.objects.filter(key__in=keys).exclude(revoked_at=None).values_list("key", flat=True))
    return msgspec.structs.replace(wanted, sites=tuple(site for site in wanted.sites if site.key not in revoked))


def admission_in(rules: Mapping[str, Any]) -> Admission:
    """Whom a deployment's rules admit; of rules that are not known yet, anyone."""
    return msgspec.convert(rules.get("admission") or {}, Admission)


def shown(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The same as REST shows it."""
    admission = admission_in(rules)
    return {"mode": admission.mode, "sites": [site.name for site in admission.sites]}


def offered(deployment: Deployment) -> list[tuple[str, bool]]:
    """The sites that a run may admit now, each with whether it does."""
    keys = {site.key for site in admission_in(deployment.rules).sites}
    return [(site.name, site.key in keys) for site in valid()]


def admitting(site: Site) -> list[Deployment]:
    """The runs that are not over and admit this site's key, the newest first."""
    rows = Deployment.objects.exclude(state__in=OVER).defer("architecture")
    return [row for row in rows if any(one.key == site.key for one in admission_in(row.rules).sites)]


def resuming(deployment: Deployment) -> Admission | None:
    """Whom a run that is resumed is to admit, where some of those that it admits are revoked; else None."""
    return remaining(deployment) if revoked_in(deployment) else None


def revoked_in(deployment: Deployment) -> list[str]:
    """Of the sites that a run admits, which is not over, those that are revoked here: a sentence each."""
    keys = [site.key for site in admission_in(deployment.rules).sites]
    if not keys or deployment.state in OVER:
        return []
    gone = Site.objects.filter(key__in=keys).exclude(revoked_at=None)
    return [f"the site {site.name} is revoked, and this run still admits it: {UNTIL}" for site in gone]


def _of(sites: Sequence[Site]) -> Admission:
    ordered = sorted(sites, key=lambda site: site.name)
    return Admission(mode="enrolled", sites=tuple(site.site_key for site in ordered))


def _wrong(told: str) -> Problem:
    return Problem(status.HTTP_400_BAD_REQUEST, told, field="sites")
