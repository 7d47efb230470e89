"""API addresses of versions' files, predictions, and deployed versions."""

from __future__ import annotations

from django.urls import path, register_converter
from rest_framework.routers import SimpleRouter

from backend.inference.api import KerasFileView, PredictView, WeightsFileView, XgboostFileView
from backend.inference.serving_api import InferenceViewSet


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

router = SimpleRouter()
router.register("inferences", InferenceViewSet)

urlpatterns = [
    *router.urls,
    path(f"{VERSION}model.keras", KerasFileView.as_view(), name="version-keras"),
    path(f"{VERSION}model.json", XgboostFileView.as_view(), name="version-xgboost"),
    path(f"{VERSION}weights.npz", WeightsFileView.as_view(), name="version-weights"),
    path(f"{VERSION}predict/", PredictView.as_view(), name="version-predict"),
]
