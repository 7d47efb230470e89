"""`python -m backend.operator`: keeps FederatedDeployment resources in line with the REST API."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import kopf

from backend.operator.definition import wait_for_definition
from backend.operator.handlers import api_from_environ, registry
from mainstem import logs
from mainstem.errors import MainstemError
from mainstem.metrics.health import Health
from mainstem.metrics.serving import serving

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m backend.operator",
        description="Keeps FederatedDeployment resources in line with the REST API. It has no state of its own.",
        epilog="MAINSTEM_API: the backend. MAINSTEM_TOKEN_FILE or MAINSTEM_TOKEN: of a user with role admin, who may "
        "delete, or operator. Outside a cluster it uses KUBECONFIG.",
    )
    parser.add_argument("--namespace", action="append", help="to watch; may be repeated (default: the pod's own)")
    options = parser.parse_args(arguments)
    logs.configure("operator")
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every look
    health = Health()
    try:
        api_from_environ()
        with serving("operator", health):
            wait_for_definition(health)
            kopf.run(registry=registry(health), standalone=True, namespaces=options.namespace or [own_namespace()])
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def own_namespace() -> str:
    """The pod's namespace; outside a cluster MAINSTEM_NAMESPACE or `default`."""
    if OWN_NAMESPACE.exists():
        return OWN_NAMESPACE.read_text().strip()
    return os.environ.get("MAINSTEM_NAMESPACE", "").strip() or "default"


if __name__ == "__main__":
    sys.exit(main())
