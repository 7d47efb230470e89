"""Addresses of the data sources in the REST API."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from backend.streams.api import DataSourceViewSet, IngestDataView, InjectionViewSet, TopicViewSet, UploadViewSet

router = SimpleRouter()
router.register("datasources", DataSourceViewSet)
router.register("injections", InjectionViewSet)
router.register("uploads", UploadViewSet)
router.register("topics", TopicViewSet, basename="topic")

urlpatterns = [
    path("", include(router.urls)),
    path("ingest/data/", IngestDataView.as_view(), name="ingest-data"),
]
