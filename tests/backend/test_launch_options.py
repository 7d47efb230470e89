"""The launcher's settings, and a deployment's own settings of its Jobs over REST."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments.models import Deployment
from backend.launchers import options as module
from backend.launchers.options import Options
from mainstem.errors import ConfigError

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

KUBERNETES = {
    "MAINSTEM_LAUNCHER": "kubernetes",
    "KML_CLOUD_BOOTSTRAP_SERVERS": "cloud:1",
    "DATA_BOOTSTRAP_SERVERS": "edge:1",
}


def test_a_cluster_s_options() -> None:
    """No limit of Jobs, no restarts of our own, and what the Jobs may know of our environment."""
    given = {**KUBERNETES, "MAINSTEM_JOB_NAMESPACE": "site", "KERAS_BACKEND": "jax", "MAINSTEM_SECRET_KEY": "never"}
    options = Options.from_environ(given)
    assert options.cluster is not None and options.cluster.namespace == "site"
    assert (options.max_jobs, options.patience.limit) == (None, 0)
    assert dict(options.cluster.environ) == {"KERAS_BACKEND": "jax"}
    assert options.cluster.site is None
    named = Options.from_environ({**given, "MAINSTEM_JOB_SITE_SECRET": "mainstem-site"}).cluster
    assert named is not None and named.site == "mainstem-site"
    assert Options.from_environ({**given, "MAINSTEM_MAX_JOBS": "7"}).max_jobs == 7


def test_one_machine_s_options() -> None:
    """Without MAINSTEM_LAUNCHER Jobs are processes, as many as there are cores, and at least 3."""
    options = Options.from_environ({"KML_CLOUD_BOOTSTRAP_SERVERS": "cloud:1"})
    assert options.cluster is None and options.max_jobs is not None and options.max_jobs >= 3
    assert (options.data_bootstrap, options.patience.limit) == ("cloud:1", 3)


def test_client_configurations_are_the_secret_s_files_of_the_same_names() -> None:
    """A Job finds them where the Secret is mounted, whatever the launcher's own path is."""
    given = {
        **KUBERNETES,
        "KML_CLOUD_CLIENT_CONFIG": "/run/a/cloud.properties",
        "DATA_CLIENT_CONFIG": "/run/b/own.conf",
    }
    options = Options.from_environ({**given, "MAINSTEM_JOB_SECRET": "clients"})
    assert options.cloud_client_config == "/etc/mainstem/kafka/cloud.properties"
    assert options.data_client_config == "/etc/mainstem/kafka/own.conf"
    with pytest.raises(ConfigError, match=r"KML_CLOUD_CLIENT_CONFIG.*MAINSTEM_JOB_SECRET.*cloud\.properties"):
        Options.from_environ(given)


@pytest.mark.parametrize(
    ("name", "value"), [("MAINSTEM_LAUNCHER", "docker"), ("MAINSTEM_JOB_GPUS", "many"), ("MAINSTEM_MAX_JOBS", "0")]
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """At the start, before anything runs."""
    with pytest.raises(ConfigError, match=name):
        Options.from_environ({**KUBERNETES, name: value})


def test_logs_of_one_machine_need_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The web process reads files where Jobs are processes, and asks the cluster where they are pods."""
    monkeypatch.delenv("MAINSTEM_LAUNCHER", raising=False)
    assert module.log_reader().log("federated-training-ddy6heod-0") == ""
    monkeypatch.setenv("MAINSTEM_LAUNCHER", "kubernetes")
    with mock.patch.object(module, "cluster_launcher") as asked:
        assert module.log_reader() is asked.return_value


# ---------------------------------------------------------------- over REST


def test_a_deployment_keeps_its_job_settings(
    admin: APIClient, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown, and a restart takes them along."""
    monkeypatch.setenv("MAINSTEM_JOB_ALLOW_NODE_SELECTOR", "pool")
    job = {"memory": "4Gi", "node_selector": {"pool": "gpu"}, "gpus": 1}
    made = admin.post("/api/deployments/", {"configuration": configuration.pk, "job": job}, format="json")
    assert made.status_code == 201 and made.json()["job"] == job
    again = admin.post(f"/api/deployments/{made.json()['federation']}/restart/")
    assert again.json()["job"] == job
    text = admin.post("/api/deployments/", {"configuration": configuration.pk, "job": '{"cpu": "2"}'}, format="json")
    assert text.json()["job"] == {"cpu": "2"}
    assert admin.post("/api/deployments/", {"configuration": configuration.pk}, format="json").json()["job"] == {}


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"memory": "much"}, "job.memory is 'much'; it must be a Kubernetes quantity above 0 such as 2Gi"),
        ({"image": "evil:1"}, "MAINSTEM_JOB_IMAGES"),
        ({"priority_class": "system-node-critical"}, "allows with MAINSTEM_JOB_ALLOW_PRIORITY_CLASS"),
        ({"scratch": "999P"}, "job.scratch is '999P'; a deployment may choose at most 100Gi"),
        ([1], "job must be an object"),
        ({"privileged": True}, "job.privileged is no setting of a Job"),
    ],
)
def test_wrong_job_settings_are_refused_with_the_fix(
    admin: APIClient, configuration: Configuration, job: Any, says: str
) -> None:
    """And nothing is made."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, "job": job}, format="json")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["field"] == "job" and says in error["message"]
    assert not Deployment.objects.exists()


def test_the_operator_allows_images(
    admin: APIClient, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a prefix."""
    monkeypatch.setenv("MAINSTEM_JOB_IMAGES", "lab/, other/training:")
    body = {"configuration": configuration.pk, "job": {"image": "other/training:3"}}
    assert admin.post("/api/deployments/", body, format="json").status_code == 201
