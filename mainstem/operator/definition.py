"""Waiting until the API server serves our resources: kopf looks for them once, when it starts."""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from mainstem.errors import ConfigError
from mainstem.operator.mapping import GROUP, PLURAL, VERSION
from mainstem.runtime.metrics.health import Health

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 20.0


def wait_for_definition(health: Health, stop: threading.Event) -> bool:
    """Wait until federateddeployments can be patched; False where `stop` is set first.

    Raises ConfigError where no cluster is known.
    """
    api = client.CustomObjectsApi(client.ApiClient(_configuration()))
    told = ""
    while not stop.is_set():
        health.turn()
        try:
            found = api.get_api_resources(GROUP, VERSION, _request_timeout=ANSWER_SECONDS)
            # a definition that is being deleted is still shown, without this verb
            if any(resource.name == PLURAL and "patch" in resource.verbs for resource in found.resources):
                return True
            problem = "it is being deleted"
        except (client.ApiException, HTTPError) as error:
            problem = str(getattr(error, "reason", None) or error)
        if problem != told:
            told = problem
            log.warning("waiting for the definition of %s.%s: %s", PLURAL, GROUP, problem)
        stop.wait(PAUSE_SECONDS)
    return False


def _configuration() -> client.Configuration:
    """As the pod's ServiceAccount, or outside a pod as KUBECONFIG says."""
    made = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=os.environ.get("KUBECONFIG") or None, client_configuration=made
            )
    except (config.ConfigException, OSError) as error:
        raise ConfigError(f"no cluster is known: {error}; run it in a pod, or set KUBECONFIG") from error
    return made
