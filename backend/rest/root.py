"""What there is under /api/."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

RESOURCES = {
    "models": "model-list",
    "configurations": "configuration-list",
    "deployments": "deployment-list",
    "results": "result-list",
    "datasources": "datasource-list",
    "injections": "injection-list",
    "topics": "topic-list",
    "jobs": "job-list",
    "audit": "audit-list",
    "token": "token",
    "account": "account",
    "schema": "schema",
    "docs": "docs",
    "health": "health",
}


class RootView(APIView):
    """The resources and their addresses."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Names to addresses."""
        links: dict[str, Any] = {name: reverse(target, request=request) for name, target in RESOURCES.items()}
        return Response(links)
