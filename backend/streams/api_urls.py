"""Addresses of the data sources in the REST API."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from backend.streams.api import DataSourceViewSet, InjectionViewSet, TopicViewSet, UploadViewSet

router = SimpleRouter()
router.register("datasources", DataSourceViewSet)
router.register("injections", InjectionViewSet)
router.register("uploads", UploadViewSet)
router.register("topics", TopicViewSet, basename="topic")

urlpatterns = router.urls
