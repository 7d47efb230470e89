"""Addresses of the Jobs in the REST API."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.launchers.api import FitViewSet, JobViewSet

router = SimpleRouter()
router.register("jobs", JobViewSet)

urlpatterns = [
    path("datasources/<int:pk>/fits/", FitViewSet.as_view({"get": "list"}), name="datasource-fits"),
    *router.urls,
]
