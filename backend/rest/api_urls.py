"""Addresses of the REST API that belong to no resource."""

from __future__ import annotations

from django.urls import path

from backend.rest.health import health
from backend.rest.root import RootView

urlpatterns = [
    path("", RootView.as_view(), name="root"),
    path("health/", health, name="health"),
]
