"""API addresses of versions' files and predictions."""

from __future__ import annotations

from django.urls import path, register_converter

from backend.inference.api import KerasFileView, PredictView, WeightsFileView


class FederationConverter:
    """A federation id in an address."""

    regex = "[a-z0-9]{8}"

    def to_python(self, value: str) -> str:
        """As it is."""
        return value

    def to_url(self, value: str) -> str:
        """As it is."""
        return value


register_converter(FederationConverter, "federation")
VERSION = "results/<federation:federation>/versions/<int:number>/"

urlpatterns = [
    path(f"{VERSION}model.keras", KerasFileView.as_view(), name="version-keras"),
    path(f"{VERSION}weights.npz", WeightsFileView.as_view(), name="version-weights"),
    path(f"{VERSION}predict/", PredictView.as_view(), name="version-predict"),
]
