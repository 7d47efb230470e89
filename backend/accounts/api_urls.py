"""API addresses of users and tokens."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.accounts.api import (
    AccountView,
    OwnSessionViewSet,
    OwnTokenViewSet,
    SessionViewSet,
    TokenView,
    TokenViewSet,
    UserViewSet,
)
from backend.accounts.api_audit import AuditViewSet

router = SimpleRouter()
router.register("auth/tokens", OwnTokenViewSet, basename="own-token")
router.register("auth/sessions", OwnSessionViewSet, basename="own-session")
router.register("tokens", TokenViewSet, basename="any-token")
router.register("sessions", SessionViewSet, basename="session")
router.register("audit", AuditViewSet, basename="audit")
router.register("users", UserViewSet, basename="user")

urlpatterns = [
    path("auth/token/", TokenView.as_view(), name="token"),
    path("auth/me/", AccountView.as_view(), name="account"),
    *router.urls,
]
