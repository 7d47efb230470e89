"""Every address of the backend: pages for people at /, the REST API under /api/."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

handler400 = "backend.rest.problems.bad_request"
handler403 = "backend.rest.problems.forbidden"
handler404 = "backend.rest.problems.not_found"
handler500 = "backend.rest.problems.server_error"

api: list[URLPattern | URLResolver] = [
    path("", include("backend.rest.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/",
        login_required(SpectacularSwaggerSplitView.as_view(template_name="swagger.html")),
        name="docs",
    ),
    path("", include("backend.accounts.api_urls")),
    path("", include("backend.catalog.api_urls")),
    path("", include("backend.runs.api.urls")),
    path("", include("backend.inference.api_urls")),
    path("", include("backend.ingest.api_urls")),
    path("", include("backend.sites.api_urls")),
    path("", include("backend.streams.api_urls")),
    path("", include("backend.launchers.api_urls")),
]

urlpatterns = [
    path("api/", include(api)),
    path("", include("backend.accounts.urls")),
    path("", include("backend.catalog.urls")),
    path("", include("backend.runs.urls")),
    path("", include("backend.sites.urls")),
    path("", include("backend.streams.urls")),
    path("", include("backend.launchers.urls")),
    path("", include("backend.inference.urls")),
]
