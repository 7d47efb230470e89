"""Pages of the catalog."""

from __future__ import annotations

from django.urls import path

from backend.catalog import pages, pages_configurations

urlpatterns = [
    path("models/", pages.model_list, name="model-list-page"),
    path("models/new/", pages.model_new, name="model-new-page"),
    path("models/check/", pages.model_check, name="model-check"),
    path("models/<int:pk>/", pages.model_detail, name="model-page"),
    path("models/<int:pk>/delete/", pages.model_delete, name="model-delete"),
    path("configurations/", pages_configurations.configuration_list, name="configuration-list-page"),
    path("configurations/new/", pages_configurations.configuration_new, name="configuration-new-page"),
    path("configurations/<int:pk>/", pages_configurations.configuration_detail, name="configuration-page"),
    path(
        "configurations/<int:pk>/duplicate/",
        pages_configurations.configuration_duplicate,
        name="configuration-duplicate",
    ),
    path("configurations/<int:pk>/delete/", pages_configurations.configuration_delete, name="configuration-delete"),
]
