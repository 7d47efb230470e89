"""Pages of data sources and topics."""

from __future__ import annotations

from django.urls import path, re_path

from backend.streams import pages, pages_announce, pages_topics, pages_uploads

TOPIC = "topics/(?P<name>[A-Za-z0-9._-]{1,249})/"

urlpatterns = [
    path("datasources/", pages.source_list, name="datasource-list-page"),
    path("datasources/inject/", pages.inject, name="datasource-inject"),
    path("datasources/injections/", pages.injection_rows, name="datasource-injections"),
    path("datasources/announce/", pages_announce.announce, name="datasource-announce"),
    path("datasources/upload/", pages_uploads.upload_new, name="datasource-upload"),
    path("datasources/uploads/<int:pk>/", pages_uploads.upload_detail, name="upload-page"),
    path("datasources/uploads/<int:pk>/inject/", pages_uploads.upload_inject, name="upload-inject"),
    path("datasources/uploads/<int:pk>/delete/", pages_uploads.upload_delete, name="upload-delete"),
    path("datasources/<int:pk>/samples/", pages.source_samples, name="datasource-samples"),
    path("topics/", pages_topics.topic_list, name="topic-list-page"),
    re_path(f"^{TOPIC}$", pages_topics.topic_detail, name="topic-page"),
    re_path(f"^{TOPIC}delete/$", pages_topics.topic_delete, name="topic-delete"),
]
