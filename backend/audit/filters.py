"""What records are asked for, alike on the page, in its file and over REST."""

from __future__ import annotations

from typing import Any

import django_filters  # type: ignore[import-untyped]
from django.db.models import Q, QuerySet

from backend.audit.actions import ACTIONS
from backend.audit.models import AuditEntry, Means, Result


class AuditFilters(django_filters.FilterSet):  # type: ignore[misc]
    """All may be combined. Times are ISO 8601; one without a zone is UTC's."""

    who = django_filters.CharFilter(lookup_expr="iexact", help_text="The name of a person or a program.")
    by = django_filters.ChoiceFilter(choices=Means.choices, help_text="The means: session, token, ...")
    action = django_filters.ChoiceFilter(choices=list(ACTIONS.items()), help_text="Such as deployment.delete.")
    object = django_filters.CharFilter(method="narrow", help_text="A part of an object's id or name.")
    result = django_filters.ChoiceFilter(choices=Result.choices)
    since = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte", help_text="From this time on.")
    before = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt", help_text="Before this time.")

    class Meta:
        model = AuditEntry
        fields: tuple[str, ...] = ()

    def narrow(self, rows: QuerySet[AuditEntry], name: str, value: Any) -> QuerySet[AuditEntry]:
        """By the object."""
        return rows.filter(Q(object__icontains=value) | Q(name__icontains=value))
