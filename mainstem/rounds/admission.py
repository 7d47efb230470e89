"""Whose clients may take part, where a run names the sites that it admits."""

from __future__ import annotations

from datetime import UTC, datetime

from mainstem.errors import ConfigError, RefusedError
from mainstem.protocol.messages import Admission, Reason, SiteKey
from mainstem.protocol.signing import SITE_KEY_FILE, check_public
from mainstem.rounds.events import Seen


def site_of(admission: Admission, seen: Seen, time_ms: int) -> str:
    """The site whose client wrote the record at that time of the log, "" in an open run; raises RefusedError."""
    if admission.mode == "open":
        return ""
    held = [site for site in admission.sites if seen.signer and site.key == seen.signer]
    valid = next((site for site in held if _is_valid(site, time_ms)), None)
    if valid is not None:
        return valid.name
    if not held:
        told = f"this run takes what its sites have signed, with the key in {SITE_KEY_FILE}"
        raise RefusedError(Reason.UNAUTHORISED, f"{seen.problem or 'it is not signed'}: {told}")
    until = max(site.until_ms or 0 for site in held)
    raise RefusedError(
        Reason.UNAUTHORISED,
        f"the key of site {held[0].name} was valid until {datetime.fromtimestamp(until / 1000, UTC):%Y-%m-%d %H:%M:%S} "
        "UTC: a person must admit the site anew",
    )


def standing(admission: Admission, time_ms: int) -> frozenset[str] | None:
    """The sites whose clients may take part at that time; None in an open run, where nobody is asked."""
    if admission.mode == "open":
        return None
    return frozenset(site.name for site in admission.sites if _is_valid(site, time_ms))


def next_expiry(admission: Admission, time_ms: int) -> int | None:
    """When the next of its keys expires; None where none will."""
    later = [site.until_ms for site in admission.sites if site.until_ms is not None and site.until_ms >= time_ms]
    return min(later, default=None)


def problem_of(admission: Admission) -> str:
    """Why a run cannot have it, empty where it can."""
    names: dict[str, str] = {}
    for site in admission.sites:
        try:
            check_public(site.key)
        except ConfigError as error:
            return f"site {site.name}: {error}"
        if names.setdefault(site.key, site.name) != site.name:
            return f"sites {names[site.key]} and {site.name} have the same key: each makes its own"
    return ""


def _is_valid(site: SiteKey, time_ms: int) -> bool:
    return site.until_ms is None or time_ms <= site.until_ms
