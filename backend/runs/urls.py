"""Pages of the deployments."""

from __future__ import annotations

from django.urls import path, re_path

from backend.deployments.live import stream
from backend.runs.pages import (
    actions,
    clients,
    compare,
    deployments,
    exports,
    new,
    overview,
    recorder,
    rounds,
    versions,
)

ONE = "deployments/(?P<federation>[a-z0-9]{8})/"

urlpatterns = [
    path("", overview.overview, name="overview-page"),
    path("overview/health/", overview.health_part, name="health-part"),
    path("events/", stream.live, name="events"),
    path("compare/", compare.compare, name="compare-page"),
    path("compare/curves/", compare.compare_curves, name="compare-curves"),
    path("deployments/", deployments.deployment_list, name="deployment-list-page"),
    path("deployments/new/", new.deployment_new, name="deployment-new-page"),
    path("deployments/new/preview/", new.deployment_preview, name="deployment-preview"),
    re_path(f"^{ONE}$", deployments.deployment_detail, name="deployment-page"),
    re_path(f"^{ONE}part/(?P<name>[a-z]+)/$", deployments.deployment_part, name="deployment-part"),
    re_path(f"^{ONE}curves/$", deployments.deployment_curves, name="deployment-curves"),
    re_path(f"^{ONE}rounds.csv$", exports.rounds_csv, name="deployment-csv"),
    re_path(f"^{ONE}act/(?P<action>[a-z]+)/$", actions.act, name="deployment-act"),
    re_path(f"^{ONE}rounds/(?P<seq>[0-9]{{1,9}})/$", rounds.round_detail, name="round-page"),
    re_path(f"^{ONE}rounds/(?P<seq>[0-9]{{1,9}})/examine/$", rounds.round_examine, name="round-examine"),
    re_path(f"^{ONE}rounds/(?P<seq>[0-9]{{1,9}})/proof/$", rounds.round_proof, name="round-proof"),
    re_path(f"^{ONE}clients/$", clients.client_list, name="clients-page"),
    re_path(f"^{ONE}versions/$", versions.version_list, name="versions-page"),
    re_path(f"^{ONE}recorder/$", recorder.recorder, name="recorder-page"),
    re_path(f"^{ONE}recorder/tape/$", recorder.recorder_tape, name="recorder-tape"),
]
