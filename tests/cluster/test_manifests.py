"""Every overlay, rendered: by the API server's own schemas, and by what this platform promises of its pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from mainstem.jobs.kubernetes.manifest import Placement, job_manifest
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.spec import JobSpec
from mainstem.serving.kubernetes.manifest import deployment_manifest
from mainstem.serving.spec import ServingSpec
from tests.cluster import manifests

ALL = manifests.rendered()
OURS = {
    "federated_backend", "federated_model_training_tensorflow", "federated_model_control_logger",
    "federated_data_control_logger", "federated_kafka",
}  # fmt: skip
SPEAK_TO_KUBERNETES = {("backend", "web"), ("launcher", "launcher"), ("operator", "operator")}
"""(workload, container) with a token of the pod's ServiceAccount."""
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
NOT_BUILT_IN = {"monitoring.coreos.com/v1"}
"""Custom resources of other projects: their schemas are not the API server's."""

each_overlay = pytest.mark.parametrize("overlay", sorted(ALL))


def templates(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, pod spec) of everything that makes pods."""
    for item in ALL[overlay]:
        template = (item.get("spec") or {}).get("template")
        if template is not None:
            yield item["metadata"]["name"], template["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """All of a pod, those that run first included."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def check_schema(manifest: dict[str, Any]) -> None:
    """Raises ValidationError where the API server would refuse the manifest for its form, unknown fields included."""
    kinds, schemas = manifests.schemas()
    document = Resource.from_contents(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": {"schemas": schemas}}
    )
    name = kinds[f"{manifest['apiVersion']} {manifest['kind']}"]
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"urn:kubernetes#/components/schemas/{name}"},
        registry=Registry().with_resource("urn:kubernetes", document),
    )
    validator.validate(manifest)


def test_the_rendering_is_of_the_present_files() -> None:
    """Who changes kustomize/ renders it anew: `python -m tests.cluster.manifests`."""
    assert (manifests.RENDERED / "inputs.sha256").read_text().strip() == manifests.digest()


@pytest.mark.skipif(manifests.kubectl() is None, reason="no kubectl that can render; its rendering is committed")
def test_kubectl_renders_what_is_committed() -> None:
    """The committed rendering is what `kubectl apply -k` would send."""
    command = manifests.kubectl()
    assert command is not None
    fresh = {name: [item for item in yaml.safe_load_all(text) if item] for name, text in manifests.render(command)}
    assert fresh == ALL


@each_overlay
def test_the_api_server_s_schemas_accept_it(overlay: str) -> None:
    """Fields, types and spelling of every object of a built-in kind."""
    kinds, _ = manifests.schemas()
    for item in ALL[overlay]:
        if item["apiVersion"] in NOT_BUILT_IN:
            continue
        assert f"{item['apiVersion']} {item['kind']}" in kinds
        check_schema(item)


def test_a_misspelt_field_is_refused() -> None:
    """The schemas that are kept have teeth."""
    deployment = next(item for item in ALL["local"] if item["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        check_schema(wrong)


def test_a_training_job_has_the_form_that_the_api_server_asks() -> None:
    """The launcher's manifest, with all of its settings."""
    spec = JobSpec("cloud:1", "data:1", "t:0:0:10", "RAW", '{"data_reshape": "4"}', "ddy6heod", "site-1")
    settings = JobSettings(gpus=1, runtime_class="nvidia", node_selector={"pool": "gpu"}, priority_class="low")
    check_schema(job_manifest("job", spec, settings, Placement("kafkaml", "mainstem", "kafka")))


def test_replicas_have_the_form_that_the_api_server_asks() -> None:
    """The Deployment of a deployed version."""
    spec = ServingSpec("digits", "cloud:1", "data:1", "ddy6heod", 5, "in", "out", "RAW", '{"data_reshape": "4"}')
    settings = JobSettings(gpus=1, runtime_class="nvidia", node_selector={"pool": "gpu"}, priority_class="low")
    check_schema(deployment_manifest(spec, 2, settings, Placement("kafkaml", "mainstem", "kafka")))


@each_overlay
def test_the_namespace_enforces_restricted(overlay: str) -> None:
    """A pod that asks for more is refused by the cluster itself."""
    namespace = next(item for item in ALL[overlay] if item["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each_overlay
def test_every_pod_is_restricted_read_only_and_bounded(overlay: str) -> None:
    """No root, no privileges, no writable image, memory limits, and a user that volumes are made for."""
    for name, pod in templates(overlay):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] == 10001, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            where = f"{name}/{container['name']}"
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
            assert container["resources"]["limits"]["memory"], where
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, where


@each_overlay
def test_every_part_tells_its_health(overlay: str) -> None:
    """What runs on has probes."""
    for name, pod in templates(overlay):
        for container in pod["containers"]:
            probes = {"livenessProbe", "readinessProbe"} & set(container)
            assert probes, f"{name}/{container['name']}"


@each_overlay
def test_images_are_ours_and_have_a_version(overlay: str) -> None:
    """No other registry is needed, and a version is never a moving one."""
    used = {container["image"] for _, pod in templates(overlay) for container in containers(pod)}
    for name, pod in templates(overlay):
        for container in containers(pod):
            image, _, tag = container["image"].rpartition(":")
            assert image in OURS and tag not in ("", "latest"), f"{name}: {container['image']}"
        for container in pod["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == "MAINSTEM_JOB_IMAGE":
                    assert variable["value"].startswith("federated_model_training_tensorflow:")
                    assert variable["value"] in used


@each_overlay
def test_accounts_are_the_least(overlay: str) -> None:
    """Only the containers that speak to Kubernetes have a token; no role reaches beyond the namespace or to secrets."""
    for name, pod in templates(overlay):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["serviceAccountName"] != "default", name
        projected = {volume["name"] for volume in pod.get("volumes", []) if "projected" in volume}
        for container in containers(pod):
            mounts = container.get("volumeMounts", [])
            speaks = (name, container["name"]) in SPEAK_TO_KUBERNETES
            found = [mount["mountPath"] for mount in mounts if mount["name"] in projected]
            assert found == ([TOKEN] if speaks else []), f"{name}/{container['name']}"
            assert all(mount["readOnly"] for mount in mounts if mount["name"] in projected)
    for item in ALL[overlay]:
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False, item["metadata"]["name"]
    for item in ALL[overlay]:
        if item["kind"] in ("Role", "ClusterRole"):
            for rule in item["rules"]:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
                assert "secrets" not in rule["resources"]
                assert not {"pods/exec", "pods/attach"} & set(rule["resources"])


@each_overlay
def test_policies_let_in_whom_they_name(overlay: str) -> None:
    """A label on a pod of any namespace opens nothing: whoever comes from another namespace is named by its labels."""
    for item in ALL[overlay]:
        if item["kind"] == "NetworkPolicy":
            for rule in item["spec"].get("ingress") or ():
                for peer in rule.get("from") or ():
                    assert peer.get("namespaceSelector") != {}, item["metadata"]["name"]


@each_overlay
def test_secrets_reach_pods_as_files(overlay: str) -> None:
    """No secret is in an environment, which children inherit and `kubectl describe` shows."""
    for name, pod in templates(overlay):
        for container in containers(pod):
            for source in container.get("envFrom", []):
                assert "secretRef" not in source, name
            for variable in container.get("env", []):
                assert "secretKeyRef" not in variable.get("valueFrom", {}), name


@each_overlay
def test_what_pods_refer_to_is_there(overlay: str) -> None:
    """ConfigMaps, Secrets and volumes by the names that the overlay makes, or that are asked for beforehand."""
    made = {(item["kind"], item["metadata"]["name"]) for item in ALL[overlay]}
    if overlay == "production":
        made |= {("Secret", "mainstem"), ("Secret", "mainstem-kafka")}
    if overlay == "local-operator":
        made |= {("Secret", "mainstem-operator")}
    for name, pod in templates(overlay):
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in made, name
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made, name
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in made, name
        for container in containers(pod):
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in made, name
        assert ("ServiceAccount", pod["serviceAccountName"]) in made, name


@each_overlay
def test_the_network_is_closed_but_for_what_is_listed(overlay: str) -> None:
    """One policy closes the namespace in both directions."""
    policies = [item for item in ALL[overlay] if item["kind"] == "NetworkPolicy"]
    closed = next(item for item in policies if item["metadata"]["name"] == "deny-all")
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@each_overlay
def test_no_label_that_anybody_may_set_opens_a_way_in(overlay: str) -> None:
    """A pod's labels are its owner's to choose: whoever is let in from another namespace needs the label of that one.

    Open to all are the pages, which have a login, and Kafka's outer port where `kafka-nodeport` is asked for.
    """
    open_to_all = set()
    for item in ALL[overlay]:
        if item["kind"] != "NetworkPolicy":
            continue
        for rule in item["spec"].get("ingress", []):
            if "from" not in rule:
                open_to_all |= {(item["metadata"]["name"], port["port"]) for port in rule["ports"]}
            for peer in rule.get("from", []):
                assert "ipBlock" not in peer
                if "namespaceSelector" in peer:
                    assert peer["namespaceSelector"].get("matchLabels"), item["metadata"]["name"]
                assert peer["podSelector"]["matchLabels"], item["metadata"]["name"]
        for rule in item["spec"].get("egress", []):
            for peer in rule.get("to", []):
                assert peer.get("namespaceSelector", {"matchLabels"}), item["metadata"]["name"]
    assert open_to_all == {("backend", 8000)} | (
        {("kafka-nodeport", 9094)} if overlay == "local-kafka-nodeport" else set()
    )


@each_overlay
def test_no_port_of_a_node_is_taken_unasked(overlay: str) -> None:
    """A NodePort is open to whoever reaches a node, past every label."""
    services = [item for item in ALL[overlay] if item["kind"] == "Service" and item["spec"].get("type") == "NodePort"]
    ports = {port["nodePort"] for item in services for port in item["spec"]["ports"]}
    assert ports == ({31162} if overlay == "local-kafka-nodeport" else set())


def test_an_edge_has_neither_ui_nor_aggregator_and_only_the_cloud_s_weights_leave() -> None:
    """A site matches and launches; its data go to its own Kafka."""
    names = {name for name, _ in templates("edge")}
    assert names == {"backend", "launcher", "control-logger", "data-control-logger", "kafka"}
    settings = next(item["data"] for item in ALL["edge"] if item["kind"] == "ConfigMap")
    assert settings["DATA_BOOTSTRAP_SERVERS"] == "kafka:9092" != settings["KML_CLOUD_BOOTSTRAP_SERVERS"]
