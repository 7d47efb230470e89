"""Every address of the backend: pages for people at /, the REST API under /api/."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from backend.config import programs_page
from backend.config.health import health
from backend.config.root import RootView

handler400 = "backend.config.problems.bad_request"
handler403 = "backend.config.problems.forbidden"
handler404 = "backend.config.problems.not_found"
handler500 = "backend.config.problems.server_error"

api: list[URLPattern | URLResolver] = [
    path("", RootView.as_view(), name="root"),
    path("health/", health, name="health"),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/",
        login_required(SpectacularSwaggerSplitView.as_view(template_name="swagger.html")),
        name="docs",
    ),
    path("", include("backend.accounts.api_urls")),
    path("", include("backend.catalog.api_urls")),
    path("", include("backend.deployments.api_urls")),
    path("", include("backend.inference.api_urls")),
    path("", include("backend.streams.api_urls")),
    path("", include("backend.launchers.api_urls")),
]

urlpatterns = [
    path("api/", include(api)),
    path("programs/", programs_page.programs, name="api-page"),
    path("", include("backend.accounts.urls")),
    path("", include("backend.catalog.urls")),
    path("", include("backend.deployments.urls")),
    path("", include("backend.streams.urls")),
    path("", include("backend.launchers.urls")),
    path("", include("backend.inference.urls")),
]
