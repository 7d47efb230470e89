"""Pages of the deployments."""

from __future__ import annotations

from django.urls import path, re_path

from backend.deployments import overview, pages

urlpatterns = [
    path("", overview.overview, name="overview-page"),
    path("deployments/", pages.deployment_list, name="deployment-list-page"),
    re_path("^deployments/(?P<federation>[a-z0-9]{8})/$", pages.deployment_detail, name="deployment-page"),
]
