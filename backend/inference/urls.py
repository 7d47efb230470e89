"""Pages of inference."""

from __future__ import annotations

from django.urls import path, re_path

from backend.inference import pages

VERSION = "<federation:federation>/<int:version>/"
ONE = "inference/(?P<name>[a-z0-9-]{1,40})/"

urlpatterns = [
    path("inference/", pages.inference_list, name="inference-list-page"),
    path(f"inference/deploy/{VERSION}", pages.inference_deploy, name="inference-deploy-page"),
    path(f"inference/deploy/{VERSION}preview/", pages.inference_preview, name="inference-preview"),
    path(f"inference/try/{VERSION}", pages.inference_try, name="inference-try-page"),
    path("inference/sample/<federation:federation>/", pages.inference_sample, name="inference-sample"),
    re_path(f"^{ONE}$", pages.inference_detail, name="inference-page"),
    re_path(f"^{ONE}scale/$", pages.inference_scale, name="inference-scale"),
    re_path(f"^{ONE}end/$", pages.inference_end, name="inference-end"),
]
