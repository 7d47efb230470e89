"""Users, their API tokens, and wrong passwords."""

from __future__ import annotations

import hashlib
import secrets

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person or a program with a login; roles are Django groups."""


class ApiToken(models.Model):
    """A token for programs. Only its hash is stored: it is shown once, when it is made."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name or 'token'} of {self.user}"

    @staticmethod
    def hash(key: str) -> str:
        """What is stored of a token: sha256, which suffices for 256 random bits."""
        return hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def issue(cls, user: User, name: str = "") -> tuple[ApiToken, str]:
        """A new token of the user's, and the key itself."""
        key = secrets.token_urlsafe(32)
        return cls.objects.create(user=user, name=name, digest=cls.hash(key)), key


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
