"""Sites, and the one-time tokens by which they are enrolled."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from mainstem.protocol.messages import SiteKey


class Site(models.Model):
    """Who takes part in runs under a key of its own. A name stands for one key for ever, so that old records say who
    signed them: a site that lost its key is revoked and enrolled under another name."""

    name = models.CharField(max_length=64)
    key = models.CharField(max_length=43, unique=True)
    """The Ed25519 public key: see `mainstem.protocol.signing`."""
    owners = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="sites", blank=True)
    allowed = models.JSONField(default=list)
    """For which runs of others its streams may train: federations' ids and names, and platforms' public keys. Empty:
    for all."""
    own = models.BooleanField(default=False)
    """Whether its key is this platform's, for the Jobs that its launcher starts."""
    created_at = models.DateTimeField(auto_now_add=True)
    valid_until = models.DateTimeField(null=True)
    """From then on runs that are opened do not admit it; None: no end."""
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True)
    revoked_why = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="one_site_a_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def standing(self) -> str:
        """`enrolled`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.valid_until is not None and self.valid_until <= timezone.now() else "enrolled"

    @property
    def site_key(self) -> SiteKey:
        """As a run's rules name it."""
        until = None if self.valid_until is None else int(self.valid_until.timestamp() * 1000)
        return SiteKey(name=self.name, key=self.key, until_ms=until)


class Enrolment(models.Model):
    """A one-time token for a site of that name. Only its hash is stored: it is shown once, when it is made."""

    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    """Who made it; becomes the site's first owner."""
    valid_until = models.DateTimeField(null=True)
    """Of the site."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, editable=False)
    site = models.OneToOneField(Site, null=True, on_delete=models.CASCADE, related_name="enrolment")
    """Whom it made."""

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"enrolment of {self.name}"

    @property
    def identity(self) -> tuple[str, str]:
        """Its number and name in records of who did what."""
        return str(self.pk), self.name

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at <= timezone.now()

    @staticmethod
    def hash(text: str) -> str:
        """What is stored of a token: sha256, which suffices for 256 random bits."""
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    @classmethod
    def issue(
        cls, name: str, expires_at: datetime, owner: object, valid_until: datetime | None
    ) -> tuple[Enrolment, str]:
        """A new one, and the token itself."""
        text = secrets.token_urlsafe(32)
        made = cls.objects.create(
            name=name, digest=cls.hash(text), owner=owner, expires_at=expires_at, valid_until=valid_until
        )
        return made, text
