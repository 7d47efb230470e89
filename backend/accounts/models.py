"""Users, their API tokens, and wrong passwords."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class Scope(models.TextChoices):
    """How far a token goes: it may do what its user may, and no more than this."""

    READ = "read", "read"
    OPERATE = "operate", "operate"
    ADMIN = "admin", "admin"


class User(AbstractUser):
    """A person or a program with a login; roles are Django groups."""

    scope = Scope.ADMIN
    """Of the token by which the user asks now; no column."""


class ApiToken(models.Model):
    """A token for programs. Only its hash is stored: it is shown once, when it is made."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, editable=False)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.ADMIN)
    expires_at = models.DateTimeField(null=True, blank=True)
    """From then on it is refused; None: never."""

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name or 'token'} of {self.user}"

    @property
    def identity(self) -> tuple[str, str]:
        """Its number and name in records of who did what."""
        return str(self.pk), str(self)

    @staticmethod
    def hash(key: str) -> str:
        """What is stored of a token: sha256, which suffices for 256 random bits."""
        return hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def issue(
        cls, user: User, name: str = "", scope: str = Scope.ADMIN, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """A new token of the user's, and the key itself."""
        key = secrets.token_urlsafe(32)
        made = cls.objects.create(user=user, name=name, digest=cls.hash(key), scope=scope, expires_at=expires_at)
        return made, key

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


class UserSession(models.Model):
    """Where somebody is logged in. It is Django's session of that key that counts: without it this is a memory."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    key = models.CharField(max_length=40, unique=True, editable=False)
    began_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    address = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=200, blank=True)
    """What its browser calls itself."""

    class Meta:
        ordering = ["-seen_at", "-id"]

    def __str__(self) -> str:
        return f"a session of {self.user}"


class LoginCount(models.Model):
    """Wrong passwords since `began`: of a name from an address; of the address where the name is empty, and of the
    name where the address is."""

    username = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    failures = models.PositiveIntegerField(default=0)
    began = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["username", "address"], name="one_count_a_name_and_address")]

    def __str__(self) -> str:
        return f"{self.failures} of {self.username or 'any name'} from {self.address or 'anywhere'}"
