"""A Job's manifest as a whole dictionary, and what holds for every one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mainstem.cli import job_manifest as command
from mainstem.cli.main import main, parser
from mainstem.jobs.kubernetes.manifest import Placement, job_manifest
from mainstem.jobs.kubernetes.settings import JobSettings, Toleration
from mainstem.jobs.spec import JobSpec

ROOT = Path(__file__).resolve().parents[2]
SPEC = JobSpec("cloud:1", "edge:1", "t:0:0:10", "RAW", '{"data_reshape": "4"}', "ddy6heod", "-a.client_" + "x" * 50)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
settings = st.builds(
    JobSettings,
    image=names,
    pull_secrets=st.lists(names, max_size=2),
    cpu_limit=st.none() | st.just("2"),
    gpus=st.integers(0, 8),
    runtime_class=st.none() | names,
    node_selector=st.dictionaries(names, names, max_size=2),
    tolerations=st.lists(st.just(Toleration(key="gpu", operator="Exists", toleration_seconds=None)), max_size=2),
    priority_class=st.none() | names,
    backoff_limit=st.integers(0, 10),
    deadline_seconds=st.none() | st.integers(1, 1000),
    user=st.none() | st.integers(1, 1 << 30),
)
placements = st.builds(
    Placement,
    namespace=st.none() | names,
    owner=st.none() | names,
    secret=st.none() | st.just("kafka-clients"),
    site=st.none() | names,
)


def test_a_whole_manifest() -> None:
    """Every field of a Job with a GPU on a tainted pool, as it is applied."""
    chosen = JobSettings(
        image="training:1", pull_secrets=["registry"], cpu="2", cpu_limit="4", memory="8Gi", gpus=1,
        runtime_class="nvidia", node_selector={"pool": "gpu"}, priority_class="high", deadline_seconds=60,
        tolerations=[Toleration(key="gpu", operator="Exists", effect="NoSchedule")], ttl_seconds=100, backoff_limit=1,
        state_claim="kept",
    )  # fmt: skip
    labels = {
        "app.kubernetes.io/name": "federated-training",
        "app.kubernetes.io/part-of": "mainstem",
        "app.kubernetes.io/managed-by": "mainstem-launcher",
        "mainstem/launcher": "north",
        "mainstem/federation": "ddy6heod",
    }
    codes = {"containerName": "training", "operator": "In"}
    made = job_manifest(
        "job-1",
        SPEC,
        chosen,
        Placement("site", "north", "clients", "mainstem-site"),
        environ={"A": "1"},
        command=["true"],
    )
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "job-1",
            "namespace": "site",
            "labels": labels,
            "annotations": {"mainstem/client": SPEC.client_id},
        },
        "spec": {
            "backoffLimit": 1,
            "ttlSecondsAfterFinished": 100,
            "activeDeadlineSeconds": 60,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {**codes, "values": [143]}},
                    {"action": "FailJob", "onExitCodes": {**codes, "values": [2, 3]}},
                ]
            },
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 30,
                    "priorityClassName": "high",
                    "runtimeClassName": "nvidia",
                    "nodeSelector": {"pool": "gpu"},
                    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "imagePullSecrets": [{"name": "registry"}],
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "fsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "training",
                            "image": "training:1",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["true"],
                            "env": [
                                {"name": "HOME", "value": "/home/mainstem"},
                                {"name": "CUDA_VISIBLE_DEVICES", "value": "0"},
                                {"name": "A", "value": "1"},
                                {"name": "FEDERATED_STATE", "value": "/state"},
                                {"name": "MAINSTEM_SITE_KEY_FILE", "value": "/etc/mainstem/site/site.key"},
                            ],
                            "resources": {
                                "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
                                "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "volumeMounts": [
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "home", "mountPath": "/home/mainstem"},
                                {"name": "kafka", "mountPath": "/etc/mainstem/kafka", "readOnly": True},
                                {"name": "site", "mountPath": "/etc/mainstem/site", "readOnly": True},
                                {"name": "state", "mountPath": "/state"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
                        {"name": "home", "emptyDir": {"sizeLimit": "2Gi"}},
                        {"name": "kafka", "secret": {"secretName": "clients", "defaultMode": 0o440}},
                        {"name": "site", "secret": {"secretName": "mainstem-site", "defaultMode": 0o440}},
                        {"name": "state", "persistentVolumeClaim": {"claimName": "kept"}},
                    ],
                },
            },
        },
    }


@given(settings, placements)
def test_every_manifest_is_restricted_and_plain(chosen: JobSettings, placement: Placement) -> None:
    """Whatever the settings: what `restricted` asks is there, nothing is null, and the Job can read its own spec."""
    made = job_manifest("job-1", SPEC, chosen, placement)
    pod = made["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "secret"}
    assert "null" not in json.dumps(made).replace('"null"', "")
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    assert JobSpec.from_environ(environ) == SPEC
    assert yaml.safe_load(command.text(made)) == made


@given(st.from_regex(r"[a-z0-9]{8}", fullmatch=True), st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_names_from_clients_are_kubernetes_names(federation: str, client: str) -> None:
    """The same for ever, valid, and different where only the case differs."""
    name = command.job_name(federation, client)
    assert command._NAME.fullmatch(name) and name == command.job_name(federation, client)
    if client.lower() != client:
        assert name != command.job_name(federation, client.lower())


# ---------------------------------------------------------------- the command
def made(*arguments: str, environ: dict[str, str] | None = None, **fetched: Any) -> dict[str, Any]:
    options = parser().parse_args(["job-manifest", *arguments])
    return command.made(options, fetched.get("deployment", {}), fetched.get("stream", {}), environ or {})


def environ_of(manifest: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in manifest["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_the_checked_in_job_is_what_its_command_makes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`debug_training_job.yaml` names its own command; run it where this fails."""
    for name in (
        "MAINSTEM_JOB_IMAGE",
        "MAINSTEM_JOB_SECRET",
        "MAINSTEM_JOB_SITE_SECRET",
        "KML_CLOUD_BOOTSTRAP_SERVERS",
        "DATA_BOOTSTRAP_SERVERS",
    ):
        monkeypatch.delenv(name, raising=False)
    lines = (ROOT / "debug_training_job.yaml").read_text("utf-8").splitlines(keepends=True)
    comment = "".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    line = comment[comment.index(" mainstem job-manifest") :].replace("\\\n", " ")
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out == "".join(line for line in lines if not line.startswith("#"))


def test_the_checked_in_job_has_kafka_ml_s_names() -> None:
    """The Job that Kafka-ML's users apply by hand: its name, namespace, variables and values."""
    job = yaml.safe_load((ROOT / "debug_training_job.yaml").read_text("utf-8"))
    assert job["metadata"]["name"] == "federated-training-debug-worker-test123"
    assert job["metadata"]["namespace"] == "kafkaml"
    assert (job["spec"]["ttlSecondsAfterFinished"], job["spec"]["backoffLimit"]) == (100, 1)
    environ = environ_of(job)
    del environ["HOME"]
    assert json.loads(environ.pop("INPUT_CONFIG")) == {
        "type": "float32", "data_type": "float32", "data_reshape": "784",
        "label_type": "float32", "label_reshape": "10",
    }  # fmt: skip
    assert environ == {
        "KML_CLOUD_BOOTSTRAP_SERVERS": "kafka:9092",
        "DATA_BOOTSTRAP_SERVERS": "kafka:9092",
        "DATA_TOPIC": "FED-DEBUG-data_topic",
        "INPUT_FORMAT": "RAW",
        "FEDERATED_MODEL_ID": "ddy6heod",
        "FEDERATED_CLIENT_ID": "test123",
    }
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["imagePullPolicy"]) == ("training", "IfNotPresent")
    assert container["image"].startswith("federated_model_training_tensorflow:")


def test_a_deployment_gives_its_input_and_its_settings() -> None:
    """What the API says of it; an option beats it."""
    taken = {"shape": [28, 28], "dtype": "float32", "label_shape": [10], "label_dtype": "float32"}
    deployment = {"federation": "ddy6heod", "input": taken, "job": {"memory": "4Gi", "cpu": "2"}}
    job = made("--deployment", "1", "--topic", "t", "--client", "A", "--set", "cpu=3", deployment=deployment)
    assert json.loads(environ_of(job)["INPUT_CONFIG"]) == {
        "data_type": "float32", "data_reshape": "28 28", "label_type": "float32", "label_reshape": "10",
    }  # fmt: skip
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "3", "memory": "4Gi"}


def test_a_stream_and_a_secret() -> None:
    """An announced stream gives everything about itself; two Kafkas have a configuration each."""
    stream = {
        "topic": "t:0:0:9", "input_format": "AVRO", "input_config": {"a": 1}, "validation_rate": 0.25, "test_rate": 0.0,
        "total_msg": 9, "incremental": False, "unsupervised_topic": "",
    }  # fmt: skip
    options = ["--federation", "ddy6heod", "--stream", "1", "--client", "a", "--data-servers", "edge:1"]
    more = ["--secret", "clients", "--data-client-config", "edge.properties"]
    environ = environ_of(made(*options, *more, stream=stream))
    spec = JobSpec.from_environ(environ)
    assert (spec.data_topic, spec.input_format, spec.validation_rate, spec.total_msg) == ("t:0:0:9", "AVRO", 0.25, 9)
    assert spec.cloud_client_config == "/etc/mainstem/kafka/client.properties"
    assert spec.data_client_config == "/etc/mainstem/kafka/edge.properties"
    assert "DATA_CLIENT_CONFIG" not in environ_of(made(*options, "--secret", "clients", stream=stream))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "memory=lots"], "job.memory is 'lots'"),
        (["--set", "memory"], "FIELD=VALUE"),
        (["--name", "Not_A_Name"], "--name is 'Not_A_Name'"),
        (["--format", "CSV"], "INPUT_FORMAT is 'CSV'"),
        (["--validation-rate", "2"], "VALIDATION_RATE"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is printed that could be applied."""
    given_ = ["--federation", "ddy6heod", "--client", "a", "--topic", "t", "--input-config", "{}"]
    assert main(["job-manifest", *given_, *arguments]) in (1, 2)
    printed = capsys.readouterr()
    assert says in " ".join(printed.err.split()) and printed.out == ""
