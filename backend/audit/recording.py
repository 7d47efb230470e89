"""Writing records. A change and its record are one transaction: neither is there without the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from backend.audit import circumstances
from backend.audit.actions import ACTIONS
from backend.audit.models import LENGTHS, AuditEntry, Means, Result, new_uid

Thing = models.Model | tuple[str, str]
"""An object: a row, or its id and its name."""


@dataclass(slots=True)
class Act:
    """What is being done. A detail is a sentence of ours or names of fields, never what somebody keeps secret."""

    action: str
    thing: tuple[str, str] = ("", "")
    detail: str = ""

    def of(self, thing: Thing) -> None:
        """The object that it made."""
        self.thing = identity(thing)


@contextlib.contextmanager
def recorded(action: str, thing: Thing | None = None, detail: str = "") -> Iterator[Act]:
    """A transaction with the change in it, and at its end the record; an error leaves neither."""
    with transaction.atomic():
        act = Act(action, identity(thing) if thing is not None else ("", ""), detail)  # a deleted row has no id
        yield act
        note(act.action, act.thing, detail=act.detail)


@contextlib.contextmanager
def outside(action: str, thing: Thing, detail: str = "") -> Iterator[None]:
    """An act that no transaction holds, such as Kafka's: a record that it begins, then one of how it ended."""
    note(action, thing, Result.BEGUN, detail)
    try:
        yield
    except Exception as error:
        note(action, thing, Result.FAILED, str(error))
        raise
    note(action, thing, detail=detail)


def note(
    action: str,
    thing: Thing = ("", ""),
    result: Result = Result.DONE,
    detail: str = "",
    who: str | None = None,
    by: Means | None = None,
) -> AuditEntry:
    """Write one record, in the transaction that is open. `who` and `by` where the request does not say it."""
    if action not in ACTIONS:
        raise LookupError(f"{action} is no action: name it in backend.audit.actions")
    now = circumstances.now()
    if who is not None:
        now = replace(now, who=who)
    moment = timezone.now()
    key, name = identity(thing)
    told: dict[str, str] = {
        "who": now.who, "token": now.token, "address": now.address, "object": key, "name": name, "detail": detail,
    }  # fmt: skip
    return AuditEntry.objects.create(
        uid=new_uid(),
        at=moment.replace(microsecond=moment.microsecond // 1000 * 1000),  # as the record has it
        by=by or now.by,
        action=action,
        result=result,
        **{field: _plain(text)[: LENGTHS[field]] for field, text in told.items()},
    )


def identity(thing: Thing) -> tuple[str, str]:
    """An object's id and its name."""
    if isinstance(thing, tuple):
        return thing
    named: Any = getattr(thing, "name", "") or str(thing)
    return str(thing.pk), str(named)


def _plain(text: str) -> str:
    """A NUL has no place in a database, a lone surrogate none in a record."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
