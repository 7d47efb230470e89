"""API addresses of sites."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.sites.api import EnrolmentViewSet, EnrolView, SiteViewSet

router = SimpleRouter()
router.register("sites/tokens", EnrolmentViewSet, basename="enrolment")
router.register("sites", SiteViewSet, basename="site")

urlpatterns = [path("sites/enrol/", EnrolView.as_view(), name="site-enrol"), *router.urls]
