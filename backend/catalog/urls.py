"""Pages of the catalog."""

from __future__ import annotations

from django.urls import path

from backend.catalog import pages

urlpatterns = [path("models/", pages.model_list, name="model-list-page")]
