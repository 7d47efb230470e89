"""The keys of this platform: its own site's, for the Jobs that its launcher starts, and the one it signs with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from django.db import IntegrityError, transaction

from backend.audit.recording import note
from backend.deployments.models import Deployment
from backend.sites.models import Site
from mainstem.errors import ConfigError
from mainstem.protocol.signing import SigningKey, check_public
from mainstem.runtime.site import site_of

SITE_KEY: Final = "MAINSTEM_SITE_KEY_FILE"
PLATFORM_KEY: Final = "MAINSTEM_PLATFORM_KEY_FILE"
PLATFORM_PUBLIC: Final = "MAINSTEM_PLATFORM_KEY"
USUAL: Final = "local"
"""The name of a platform's own site where MAINSTEM_SITE gives it none."""


def key_at(variable: str, environ: Mapping[str, str] = os.environ) -> SigningKey | None:
    """The private key in the file that the variable names, None where it names none; raises ConfigError."""
    path = environ.get(variable, "").strip()
    if not path:
        return None
    try:
        return SigningKey.from_pem(Path(path).read_bytes())
    except (OSError, ConfigError) as error:
        raise ConfigError(f"{variable} {path} cannot be used: {getattr(error, 'strerror', None) or error}") from error


def platform_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The public key that this platform signs with, by either variable; None where it has none. Raises ConfigError."""
    if public := environ.get(PLATFORM_PUBLIC, "").strip():
        return check_public(public)
    key = key_at(PLATFORM_KEY, environ)
    return None if key is None else key.public


def enrol_own(environ: Mapping[str, str] = os.environ) -> Site | None:
    """The site of this platform's own key, enrolled unless it is; None where it has no key. Raises ConfigError.

    One that was revoked stays so. A new key gets a new name: a name stands for one key for ever.
    """
    key = key_at(SITE_KEY, environ)
    if key is None:
        return None
    name = site_of(environ) or USUAL
    for tried in (name, f"{name}-{key.public[:8].strip('-_')}"):
        known = Site.objects.filter(key=key.public).first()
        if known is not None:
            return known
        try:
            with transaction.atomic():
                made = Site.objects.create(name=tried, key=key.public, own=True)
                note("site.enrol", made, detail="this platform's own")
                return made
        except IntegrityError:
            continue
    raise ConfigError(f"no name is left for the site of {SITE_KEY}: revoke one at /sites/")


def refusal(deployment: Deployment) -> str | None:
    """Why this platform's streams may not train for the run, in a sentence; None where they may.

    Its own runs were opened by its people; those of others stand on its own site's allow list, where that has one.
    """
    if not deployment.external:
        return None
    names = {deployment.federation, deployment.name}
    for site in Site.objects.filter(own=True, revoked_at=None).exclude(allowed=[]):
        if names.isdisjoint(site.allowed):
            return f"the allow list of the site {site.name} does not name this federation: see /sites/{site.pk}/"
    return None
