"""The platform's own site, with whose key the Jobs that its launcher starts sign."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from django.db import IntegrityError, transaction

from backend.audit.recording import note
from backend.deployments.models import Deployment
from backend.sites.models import Site
from mainstem.errors import ConfigError
from mainstem.protocol.signing import SITE_KEY_FILE, SigningKey
from mainstem.runtime.site import site_of

USUAL: Final = "local"
"""The name of a platform's own site where MAINSTEM_SITE gives it none."""


def enrol_own(environ: Mapping[str, str] = os.environ) -> Site | None:
    """The site of this platform's own key, enrolled unless it is; None where it has no key. Raises ConfigError.

    One that was revoked stays so. A new key gets a new name: a name stands for one key for ever.
    """
    key = SigningKey.from_environ(environ, SITE_KEY_FILE)
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
    raise ConfigError(f"no name is left for the site of {SITE_KEY_FILE}: revoke one at /sites/")


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
