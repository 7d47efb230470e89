"""How lists are cut into pages."""

from __future__ import annotations

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request

from backend.rest.query import number_of


class Pages(PageNumberPagination):
    """`?page=` and `?page_size=`; `count`, `next`, `previous`, `results` in the answer."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000

    def get_page_size(self, request: Request) -> int:
        """As asked for, at most `max_page_size`; raises ValidationError."""
        asked = request.query_params.get("page_size")
        if asked is None:
            return self.page_size
        if not (size := number_of(asked)):
            raise ValidationError({"page_size": ["This must be a whole number from 1."]})
        return min(size, self.max_page_size)
