"""What lists are asked for: a misspelt filter would show everything, a misspelt order any."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend  # type: ignore[import-untyped]
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request

PAGES = ("page", "page_size")


class KnownFilters(DjangoFilterBackend):  # type: ignore[misc]
    """A list's own filters; any other name in its address is refused."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """Of a list only: one object's addresses have parameters of their own."""
        if view.detail is False:
            kind = self.get_filterset_class(view, queryset)
            known = [*getattr(kind, "base_filters", ()), "ordering", *PAGES]
            unknown = [name for name in request.query_params if name not in known][:20]
            if unknown:
                told = f"This list has no such parameter; there are {', '.join(known)}."
                raise ValidationError({name: [told] for name in unknown})
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class KnownOrdering(OrderingFilter):
    """`ordering` by a list's own columns; any other is refused."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Any) -> Any:
        """All of them are valid, or it is said which are."""
        valid = super().remove_invalid_fields(queryset, fields, view, request)
        if wrong := [field for field in fields if field not in valid]:
            known = ", ".join(name for name, _ in self.get_valid_fields(queryset, view, {"request": request}))
            raise ValidationError({"ordering": [f"There is no order by {wrong[0][:60]!r}; there are {known}."]})
        return valid
