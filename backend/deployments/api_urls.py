"""API addresses of deployments, results and the control logger."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.deployments.api import DeploymentViewSet, IngestControlView
from backend.deployments.results_api import ResultViewSet

router = SimpleRouter()
router.register("deployments", DeploymentViewSet, basename="deployment")
router.register("results", ResultViewSet, basename="result")

urlpatterns = [
    path("ingest/control/", IngestControlView.as_view(), name="ingest-control"),
    *router.urls,
]
