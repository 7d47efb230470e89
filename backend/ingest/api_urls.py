"""Addresses of the control loggers in the REST API."""

from __future__ import annotations

from django.urls import path

from backend.ingest.api import IngestControlView, IngestDataView

urlpatterns = [
    path("ingest/control/", IngestControlView.as_view(), name="ingest-control"),
    path("ingest/data/", IngestDataView.as_view(), name="ingest-data"),
]
