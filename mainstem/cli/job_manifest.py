"""Print the Kubernetes manifest (YAML) of a training Job, to read, to change, or for `kubectl apply -f -`.

It is the manifest that the launcher would make. Its federation is named by --federation, or by --deployment, which asks
the backend for the model's input and the deployment's own job settings; its stream by --topic, or by --stream, which
asks the backend for an announced one. Defaults of the settings are MAINSTEM_JOB_IMAGE, MAINSTEM_JOB_MEMORY and so on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import yaml

from mainstem.cli.output import Output, UsageError
from mainstem.jobs.kubernetes.manifest import CLIENTS, Placement, job_manifest
from mainstem.jobs.kubernetes.settings import JOB_FIELDS, JobSettings, from_text
from mainstem.jobs.spec import JobSpec, ids_text
from mainstem.platform.home import Home
from mainstem.rest import Api
from mainstem.runtime import endpoints
from mainstem.runtime.endpoints import CLOUD_PROPERTIES, CLOUD_SERVERS, DATA_PROPERTIES, DATA_SERVERS
from mainstem.streams.codecs import raw_config

HELP = "print the Kubernetes manifest of a training Job"

SERVERS = "kafka:9092"
"""Where Kafka is in the cluster, as `kustomize/` has it."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    federation = parser.add_mutually_exclusive_group(required=True)
    federation.add_argument("--federation", metavar="ID", help="the federation's id")
    federation.add_argument(
        "--deployment", metavar="ID", help="a deployment of the backend, by federation id or number"
    )
    stream = parser.add_mutually_exclusive_group(required=True)
    stream.add_argument("--topic", help="the stream: t:p:start:end,... or a topic's name")
    stream.add_argument("--stream", type=int, metavar="NUMBER", help="an announced stream of the backend")
    parser.add_argument("--client", required=True, metavar="ID", help="the client's id, the same at every start")
    parser.add_argument("--format", metavar="NAME", help="RAW, AVRO or JSON (default: RAW)")
    parser.add_argument(
        "--input-config", metavar="JSON", help="how records are read (default: as the model takes them)"
    )
    parser.add_argument("--validation-rate", type=float, metavar="SHARE", help="of the records, from their end")
    parser.add_argument("--test-rate", type=float, metavar="SHARE", help="of the records, kept for evaluation")
    parser.add_argument("--total-msg", type=int, metavar="NUMBER", help="read so many records of a bare topic")
    parser.add_argument("--incremental", action="store_true", default=None, help="the stream goes on")
    parser.add_argument(
        "--servers", metavar="HOST:PORT", help=f"the cloud's Kafka (default: KML_CLOUD_BOOTSTRAP_SERVERS or {SERVERS})"
    )
    parser.add_argument(
        "--data-servers", metavar="HOST:PORT", help="the data's Kafka (default: DATA_BOOTSTRAP_SERVERS or the cloud's)"
    )
    parser.add_argument("--name", help="the Job's name (default: from federation and client)")
    parser.add_argument("--namespace", help="the Job's namespace (default: MAINSTEM_JOB_NAMESPACE, else kubectl's own)")
    parser.add_argument(
        "--secret", metavar="NAME", help="the Secret with Kafka's client configurations (default: MAINSTEM_JOB_SECRET)"
    )
    parser.add_argument(
        "--site-secret", metavar="NAME", help="the Secret with the site's key (default: MAINSTEM_JOB_SITE_SECRET)"
    )
    parser.add_argument(
        "--client-config",
        metavar="KEY",
        default="client.properties",
        help="the Secret's key of the cloud's (%(default)s)",
    )
    parser.add_argument(
        "--data-client-config", metavar="KEY", help="of the data's Kafka (default: the same where it is the same Kafka)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a job setting: " + ", ".join(JOB_FIELDS)
    )


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print it."""
    deployment: dict[str, Any] = {}
    stream: dict[str, Any] = {}
    if options.deployment or options.stream is not None:
        with Api.connect(home) as api:
            if options.deployment:
                deployment = api.get(f"deployments/{options.deployment}/")
            if options.stream is not None:
                stream = api.get(f"datasources/{options.stream}/")
    manifest = made(options, deployment, stream, os.environ)
    if options.json:
        output.result(manifest)
    else:
        print(text(manifest), end="")
    return 0


def made(
    options: argparse.Namespace,
    deployment: Mapping[str, Any],
    stream: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest, with only those variables that were given; raises ConfigError and UsageError."""
    secret = options.secret or environ.get("MAINSTEM_JOB_SECRET") or None
    chosen = {
        CLOUD_SERVERS: options.servers or environ.get(CLOUD_SERVERS),
        DATA_SERVERS: options.data_servers or environ.get(DATA_SERVERS),
        CLOUD_PROPERTIES: f"{CLIENTS}/{options.client_config}" if secret else None,
        DATA_PROPERTIES: f"{CLIENTS}/{options.data_client_config}" if secret and options.data_client_config else None,
    }
    named = {name: value for name, value in chosen.items() if value}
    cloud, data = endpoints.cloud(named, otherwise=SERVERS), endpoints.data(named, otherwise=SERVERS)
    given = {
        CLOUD_SERVERS: cloud.servers,
        DATA_SERVERS: data.servers,
        "DATA_TOPIC": options.topic or stream["topic"],
        "DATA_TOPIC_IDS": ids_text(stream.get("stream_ids") or {}) or None,
        "INPUT_FORMAT": options.format or stream.get("input_format") or "RAW",
        "INPUT_CONFIG": options.input_config or _config(deployment, stream),
        "FEDERATED_MODEL_ID": options.federation or deployment["federation"],
        "FEDERATED_CLIENT_ID": options.client,
        "VALIDATION_RATE": _first(options.validation_rate, stream.get("validation_rate")),
        "TEST_RATE": _first(options.test_rate, stream.get("test_rate")),
        "TOTAL_MSG": _first(options.total_msg, _first(stream.get("readable"), stream.get("total_msg"))),
        "INCREMENTAL": "true" if _first(options.incremental, stream.get("incremental")) else None,
        "UNSUPERVISED_TOPIC": stream.get("unsupervised_topic") or None,
        CLOUD_PROPERTIES: cloud.properties,
        DATA_PROPERTIES: data.properties,
    }
    variables = {name: str(value) for name, value in given.items() if value is not None}
    spec = JobSpec.from_environ(variables)
    settings = JobSettings.from_environ(environ).overridden({**deployment.get("job", {}), **_settings(options.set)})
    namespace = options.namespace or environ.get("MAINSTEM_JOB_NAMESPACE") or None
    name = options.name or job_name(spec.federation, options.client)
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name is {name[:80]!r}; a Job's name has at most 63 of a-z, 0-9 and '-'")
    site = options.site_secret or environ.get("MAINSTEM_JOB_SITE_SECRET") or None
    return job_manifest(name, spec, settings, Placement(namespace, None, secret, site), environ=variables)


def text(manifest: Mapping[str, Any]) -> str:
    """A manifest as YAML."""
    return str(yaml.safe_dump(manifest, sort_keys=False, width=200))


def job_name(federation: str, client: str) -> str:
    """A Job's name from any client's id; the same for the same."""
    plain = re.sub(r"[^a-z0-9]+", "-", client.lower()).strip("-")
    name = f"federated-training-{federation}-{plain}"
    if plain == client and len(name) <= 63:
        return name
    digest = hashlib.sha256(client.encode()).hexdigest()[:8]
    return f"{name[:54].rstrip('-')}-{digest}"


def _first(given: Any, announced: Any) -> Any:
    return announced if given is None else given


def _config(deployment: Mapping[str, Any], stream: Mapping[str, Any]) -> str:
    """The stream's input_config, or RAW as the federation's model takes it."""
    if stream:
        return json.dumps(stream["input_config"])
    if not deployment:
        raise UsageError('--input-config is missing, such as {"data_type": "float32", "data_reshape": "784", ...}')
    return json.dumps(raw_config(deployment["input"]))


def _settings(given: list[str]) -> dict[str, Any]:
    """`FIELD=VALUE` pairs."""
    fields: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes FIELD=VALUE, not {pair[:60]!r}")
        fields[name] = from_text(name, value)
    return fields
