"""Pages of the Jobs, and of the streams that they train on."""

from __future__ import annotations

from django.urls import path, re_path

from backend.launchers.pages import jobs, sources

ONE = "jobs/(?P<name>[a-z0-9-]{1,63})/"

urlpatterns = [
    path("datasources/<int:pk>/", sources.source_detail, name="datasource-page"),
    path("jobs/", jobs.job_list, name="job-list-page"),
    re_path(f"^{ONE}$", jobs.job_detail, name="job-page"),
    re_path(f"^{ONE}act/(?P<action>[a-z]+)/$", jobs.job_act, name="job-act"),
]
