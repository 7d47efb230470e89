"""Pages of sites."""

from __future__ import annotations

from django.urls import path

from backend.sites import pages

urlpatterns = [
    path("sites/", pages.site_list, name="site-list-page"),
    path("sites/new/", pages.enrolment_new, name="enrolment-new-page"),
    path("sites/tokens/<int:pk>/end/", pages.enrolment_end, name="enrolment-end-page"),
    path("sites/<int:pk>/", pages.site_detail, name="site-page"),
    path("sites/<int:pk>/revoke/", pages.site_revoke, name="site-revoke-page"),
]
