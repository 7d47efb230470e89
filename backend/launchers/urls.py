"""Pages of the Jobs."""

from __future__ import annotations

from django.urls import path, re_path

from backend.launchers import pages

ONE = "jobs/(?P<name>[a-z0-9-]{1,63})/"

urlpatterns = [
    path("jobs/", pages.job_list, name="job-list-page"),
    re_path(f"^{ONE}$", pages.job_detail, name="job-page"),
    re_path(f"^{ONE}act/(?P<action>[a-z]+)/$", pages.job_act, name="job-act"),
]
