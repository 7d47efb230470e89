"""API addresses of models and configurations."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.catalog.api import ConfigurationViewSet, ModelViewSet

router = SimpleRouter()
router.register("models", ModelViewSet, basename="model")
router.register("configurations", ConfigurationViewSet, basename="configuration")

urlpatterns = [
    path("models/<int:pk>/model.keras", ModelViewSet.as_view({"get": "file"}), name="model-file"),
    *router.urls,
]
