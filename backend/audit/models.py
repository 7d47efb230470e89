"""The records: a row each, written with the change that it tells of and carried to Kafka from here."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from backend.audit.actions import ACTIONS
from mainstem.protocol.messages import Audited

LENGTHS = {"who": 150, "token": 120, "object": 200, "name": 200, "address": 64, "detail": 400}
"""The most characters of what others chose; the rest is cut off, so that no record is refused for its length."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Means(models.TextChoices):
    """By which means somebody acted. `command` ran on the server's machine, `platform` is a process of ours."""

    SESSION = "session", "session"
    TOKEN = "token", "token"
    PASSWORD = "password", "name and password"
    COMMAND = "command", "command"
    PLATFORM = "platform", "platform"


class Result(models.TextChoices):
    """What came of it. `begun` is of acts outside the database, each followed by how it ended."""

    DONE = "done", "done"
    BEGUN = "begun", "begun"
    REFUSED = "refused", "refused"
    FAILED = "failed", "failed"


class AuditEntry(models.Model):
    """Who did what to which object, by which means, from where, and what came of it. Never a password or a key."""

    uid = models.CharField(max_length=32, unique=True, editable=False)
    at = models.DateTimeField(db_index=True)
    who = models.CharField(max_length=LENGTHS["who"], blank=True, db_index=True)
    by = models.CharField(max_length=10, choices=Means)
    token = models.CharField(max_length=LENGTHS["token"], blank=True)
    action = models.CharField(max_length=40, db_index=True)
    object = models.CharField(max_length=LENGTHS["object"], blank=True)
    name = models.CharField(max_length=LENGTHS["name"], blank=True)
    address = models.CharField(max_length=LENGTHS["address"], blank=True)
    result = models.CharField(max_length=10, choices=Result)
    detail = models.CharField(max_length=LENGTHS["detail"], blank=True)
    sent_at = models.DateTimeField(null=True, editable=False)
    """When Kafka had it; until then it waits here."""

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(sent_at=None), name="audit_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.who or 'somebody'} {self.action} {self.object} {self.result}"

    @property
    def did(self) -> str:
        """What was done, in words."""
        return ACTIONS.get(self.action, self.action)

    @property
    def record(self) -> Audited:
        """As it stands in the topic."""
        return Audited(
            id=self.uid,
            at_ms=(self.at - EPOCH) // timedelta(milliseconds=1),
            **{field: getattr(self, field) for field in TOLD},
        )

    @classmethod
    def of(cls, record: Audited) -> AuditEntry:
        """The row of a record that the topic holds, not saved."""
        told: dict[str, Any] = {field: getattr(record, field) for field in TOLD}
        at = EPOCH + timedelta(milliseconds=record.at_ms)
        return cls(uid=record.id, at=at, sent_at=timezone.now(), **told)


TOLD = ("who", "by", "token", "action", "object", "name", "address", "result", "detail")
"""The columns that are fields of the record under the same name."""


def new_uid() -> str:
    """A record's own random name, by which it counts once."""
    return secrets.token_hex(16)
