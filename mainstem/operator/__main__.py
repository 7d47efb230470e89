"""`python -m mainstem.operator`: keeps FederatedDeployment resources in line with the REST API."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

import kopf

from mainstem.operator.definition import wait_for_definition
from mainstem.operator.handlers import api_from_environ, registry
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.serving import serving
from mainstem.runtime.program import Program, run
from mainstem.runtime.variables import API, LOGS, METRICS, Variable

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", action="append", help="to watch; may be repeated (default: the pod's own)")


PROGRAM = Program(
    "mainstem.operator",
    "operator",
    "Keeps FederatedDeployment resources in line with the REST API. It has no state of its own.",
    {
        "The backend, as a user with role admin, who may delete, or operator": API,
        "The cluster": (
            Variable("KUBECONFIG", "which, outside a pod", otherwise="~/.kube/config"),
            Variable("MAINSTEM_NAMESPACE", "the namespace, outside a pod", "default"),
        ),
        "Metrics": METRICS,
        "Its log": LOGS,
    },
    _options,
)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    return run(PROGRAM, _work, arguments)


def _work(options: argparse.Namespace, stop: threading.Event) -> None:
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every look
    health = Health()
    api_from_environ()
    with serving("operator", health):
        if wait_for_definition(health, stop):
            # It has signal handlers of its own: one that waits for our event would hold a thread beyond its end.
            kopf.run(registry=registry(health), standalone=True, namespaces=options.namespace or [own_namespace()])


def own_namespace() -> str:
    """The pod's namespace; outside a cluster MAINSTEM_NAMESPACE or `default`."""
    if OWN_NAMESPACE.exists():
        return OWN_NAMESPACE.read_text().strip()
    return os.environ.get("MAINSTEM_NAMESPACE", "").strip() or "default"


if __name__ == "__main__":
    sys.exit(main())
