"""Pages of the deployments."""

from __future__ import annotations

from django.urls import path, re_path

from backend.deployments import overview, pages, stream

ONE = "deployments/(?P<federation>[a-z0-9]{8})/"

urlpatterns = [
    path("", overview.overview, name="overview-page"),
    path("deployments/", pages.deployment_list, name="deployment-list-page"),
    re_path(f"^{ONE}$", pages.deployment_detail, name="deployment-page"),
    re_path(f"^{ONE}events/$", stream.live, name="deployment-events"),
]
