"""Addresses of deployments and results in the REST API."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from backend.runs.api.deployments import DeploymentViewSet
from backend.runs.api.results import ResultViewSet

router = SimpleRouter()
router.register("deployments", DeploymentViewSet, basename="deployment")
router.register("results", ResultViewSet, basename="result")

urlpatterns = router.urls
