"""API addresses of users and tokens."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from backend.accounts.api import AccountView, OwnTokenViewSet, TokenView, UserViewSet

router = SimpleRouter()
router.register("auth/tokens", OwnTokenViewSet, basename="own-token")
router.register("users", UserViewSet, basename="user")

urlpatterns = [
    path("auth/token/", TokenView.as_view(), name="token"),
    path("auth/me/", AccountView.as_view(), name="account"),
    *router.urls,
]
