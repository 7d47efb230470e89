"""Addresses of the Jobs in the REST API."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from backend.launchers.api import JobViewSet

router = SimpleRouter()
router.register("jobs", JobViewSet)

urlpatterns = router.urls
