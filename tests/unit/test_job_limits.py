"""What a deployment may choose of its Jobs, and what only the administrator may."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.jobs.kubernetes.limits import _JUDGES, JobLimits, amount, job_settings, own_settings, repository
from mainstem.jobs.kubernetes.manifest import Placement, job_manifest
from mainstem.jobs.kubernetes.settings import JOB_FIELDS, JobSettings, Toleration
from mainstem.jobs.spec import JobSpec

SPEC = JobSpec("cloud:1", "data:1", "t:0:0:10", "RAW", "{}", "ddy6heod", "a")
GPU = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
ALLOWED = {
    "MAINSTEM_JOB_IMAGES": "registry.example.com/ lab/training: other/one:3",
    "MAINSTEM_JOB_ALLOW_PULL_SECRETS": "lab-registry",
    "MAINSTEM_JOB_ALLOW_PRIORITY_CLASS": "batch, low",
    "MAINSTEM_JOB_ALLOW_RUNTIME_CLASS": "gvisor nvidia",
    "MAINSTEM_JOB_ALLOW_GPU_RESOURCE": "amd.com/gpu",
    "MAINSTEM_JOB_ALLOW_NODE_SELECTOR": "pool, topology.kubernetes.io/zone=a",
    "MAINSTEM_JOB_ALLOW_TOLERATIONS": '[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]',
    "MAINSTEM_JOB_MOST_MEMORY": "16Gi",
    "MAINSTEM_JOB_MOST_DEADLINE_SECONDS": "7200",
}
"""An administrator's lists and bounds."""
NONE = "a deployment may choose none, and what the administrator allows with MAINSTEM_JOB_ALLOW_"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"state_claim": "another-team-s"}, f"is 'another-team-s'; {NONE}STATE_CLAIM"),
        ({"priority_class": "system-node-critical"}, f"is 'system-node-critical'; {NONE}PRIORITY_CLASS"),
        ({"tolerations": [{"operator": "Exists"}]}, f'has {{"operator":"Exists"}}; {NONE}TOLERATIONS'),
        ({"node_selector": {CONTROL_PLANE: ""}}, f"has {CONTROL_PLANE}=; {NONE}NODE_SELECTOR"),
        ({"gpu_resource": "devices/kvm"}, f"is 'devices/kvm'; {NONE.replace('none', 'nvidia.com/gpu')}GPU_RESOURCE"),
        (
            {"scratch": "999P"},
            "is '999P'; a deployment may choose at most 100Gi, the administrator's MAINSTEM_JOB_MOST_",
        ),
        ({"runtime_class": "host"}, "job.runtime_class is 'host'; a deployment may choose none"),
        ({"pull_secrets": ["mainstem"]}, "job.pull_secrets has 'mainstem'; a deployment may choose none"),
        ({"memory": "257Gi"}, "at most 256Gi, the administrator's MAINSTEM_JOB_MOST_MEMORY"),
        ({"cpu": "64.1"}, "at most 64, the administrator's MAINSTEM_JOB_MOST_CPU"),
        ({"cpu_limit": "65000m"}, "job.cpu_limit is '65000m'; a deployment may choose at most 64"),
        ({"gpus": 9}, "job.gpus is 9; a deployment may choose at most 8"),
        ({"backoff_limit": 21}, "job.backoff_limit is 21; a deployment may choose at most 20"),
        ({"ttl_seconds": 604801}, "job.ttl_seconds is 604801; a deployment may choose at most 604800"),
        ({"image": "registry.example.com/x:1"}, "a deployment may choose a tag of federated_model_training_tensorflow"),
    ],
)
def test_what_only_the_administrator_may_choose_is_refused_with_the_variable(fields: Any, says: str) -> None:
    """Without a word of the administrator: no place, no privilege and no device but his defaults'."""
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        own_settings(fields, JobSettings(), JobLimits.from_environ({}))
    assert str(refused.value).startswith(f"job.{next(iter(fields))} ")


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "registry.example.com/team/training:2", "pull_secrets": ["lab-registry"]},
        {"image": "lab/training@sha256:" + "0" * 64},
        {"image": "other/one:3"},
        {"priority_class": "low", "runtime_class": "gvisor"},
        {"gpu_resource": "amd.com/gpu", "gpus": 8},
        {"node_selector": {"pool": "anything", "topology.kubernetes.io/zone": "a"}, "tolerations": [GPU]},
        {"memory": "16Gi", "cpu": "64000m", "cpu_limit": "64", "scratch": "100Gi", "deadline_seconds": 7200},
    ],
)
def test_what_the_administrator_allows_is_taken(fields: dict[str, Any]) -> None:
    """Lists by names, bounds included."""
    made = job_settings(fields, ALLOWED)
    assert made == JobSettings().overridden(fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"image": "registry.example.com.evil.org/x:1"}, "MAINSTEM_JOB_IMAGES"),
        ({"image": "registry.example.com:5000/x:1"}, "MAINSTEM_JOB_IMAGES"),
        ({"image": "lab/training-evil:1"}, "MAINSTEM_JOB_IMAGES"),
        ({"image": "other/one:31"}, "MAINSTEM_JOB_IMAGES"),
        ({"image": "registry.example.com"}, "MAINSTEM_JOB_IMAGES"),
        ({"priority_class": "system-cluster-critical"}, "may choose batch, low, and"),
        ({"tolerations": [GPU, {"key": "gpu", "operator": "Exists"}]}, 'has {"key":"gpu","operator":"Exists"}'),
        (
            {"node_selector": {"topology.kubernetes.io/zone": "b"}},
            "may choose pool, topology.kubernetes.io/zone=a, and",
        ),
        ({"memory": "17Gi"}, "at most 16Gi"),
        ({"deadline_seconds": 7201}, "at most 7200, the administrator's MAINSTEM_JOB_MOST_DEADLINE_SECONDS"),
    ],
)
def test_lists_and_bounds_are_exact(fields: Any, says: str) -> None:
    """An image by whole parts of its name, a toleration as a whole, a label with its value."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        job_settings(
            fields,
            ALLOWED
            | (
                {"MAINSTEM_JOB_IMAGES": "registry.example.com/x lab/training other/one:3"}
                if fields.get("image") == "registry.example.com"
                else {}
            ),
        )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"runtime_class": None}, "job.runtime_class is null; a deployment may choose gvisor, and"),
        ({"priority_class": None}, "job.priority_class is null; a deployment may choose low, and"),
        (
            {"node_selector": {}},
            "job.node_selector leaves out pool=training, which the administrator asks of every node",
        ),
        (
            {"node_selector": {"pool": "web"}},
            "job.node_selector has pool=web; a deployment may choose pool=training, and",
        ),
        ({"cpu_limit": None}, "job.cpu_limit is null; a deployment may choose at most 2, the administrator's "),
        ({"deadline_seconds": None}, "job.deadline_seconds is null; a deployment may choose at most 60"),
        ({"memory": "400Gi"}, "at most 300Gi, the administrator's MAINSTEM_JOB_MOST_MEMORY"),
    ],
)
def test_a_default_that_confines_cannot_be_taken_away(fields: Any, says: str) -> None:
    """A sandbox, a pool of nodes, a limit: leaving it out is a choice too."""
    environ = {
        "MAINSTEM_JOB_RUNTIME_CLASS": "gvisor",
        "MAINSTEM_JOB_PRIORITY_CLASS": "low",
        "MAINSTEM_JOB_NODE_SELECTOR": '{"pool": "training"}',
        "MAINSTEM_JOB_TOLERATIONS": '[{"key": "gpu", "operator": "Exists"}]',
        "MAINSTEM_JOB_PULL_SECRETS": '["registry"]',
        "MAINSTEM_JOB_CPU_LIMIT": "2",
        "MAINSTEM_JOB_DEADLINE_SECONDS": "60",
        "MAINSTEM_JOB_MEMORY": "300Gi",
    }
    with pytest.raises(ConfigError, match=re.escape(says)):
        job_settings(fields, environ)
    less = {"tolerations": [], "pull_secrets": [], "memory": "260Gi", "node_selector": {"pool": "training"}}
    assert job_settings(less, environ).tolerations == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAINSTEM_JOB_MOST_MEMORY", "lots"),
        ("MAINSTEM_JOB_MOST_GPUS", "many"),
        ("MAINSTEM_JOB_ALLOW_TOLERATIONS", "gpu"),
        ("MAINSTEM_JOB_ALLOW_TOLERATIONS", '[{"kei": "gpu"}]'),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """At the start of what reads it."""
    with pytest.raises(ConfigError, match=f"^{name} is"):
        JobLimits.from_environ({name: value})


def test_every_field_has_a_judge() -> None:
    """A setting that is added and forgotten here is an error at once."""
    assert set(_JUDGES) == set(JOB_FIELDS)


def test_an_image_runs_with_the_jobs_secrets_so_the_operator_allows_it() -> None:
    """Another tag or digest of the default's repository, and what begins with an allowed prefix."""
    defaults = JobSettings(image="registry.example:5000/training:1")
    digest = "registry.example:5000/training@sha256:" + "0" * 64
    for image in ("registry.example:5000/training:2", "registry.example:5000/training", digest, "lab/own:3"):
        assert own_settings({"image": image}, defaults, JobLimits(images=("lab/",))) == {"image": image}
    for image in ("registry.example:5000/trainings:2", "training:1", "registry.example:5000/training/x:1"):
        with pytest.raises(ConfigError):
            own_settings({"image": image}, defaults, JobLimits(images=("lab/",)))


def test_a_repository_is_an_image_without_its_tag() -> None:
    """A registry's port is no tag."""
    assert repository("a:5000/b") == repository("a:5000/b:1") == repository("a:5000/b:1@sha256:" + "0" * 64)
    assert repository("b:1") == repository("b") == "b"


_UNITS = ("", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@given(st.integers(1, 10**15 - 1), st.integers(0, 999), st.sampled_from(_UNITS))
def test_an_amount_is_what_kubernetes_makes_of_it(whole: int, part: int, unit: str) -> None:
    """Powers of 1000, and of 1024 with an i; exactly."""
    power = "kMGTPE".find(unit[:1].replace("K", "k")) + 1 if unit else 0
    factor = Fraction(1, 1000) if unit == "m" else Fraction((1024 if unit.endswith("i") else 1000) ** power)
    assert amount(f"{whole}.{part:03d}{unit}") == (whole + Fraction(part, 1000)) * factor


names = st.sampled_from(["low", "batch", "gvisor", "pool", "system-node-critical", "lab-registry", "x.example/kvm"])
choices = st.fixed_dictionaries(
    {},
    optional={
        "priority_class": st.none() | names,
        "state_claim": st.none() | names,
        "runtime_class": st.none() | names,
        "gpu_resource": names,
        "gpus": st.integers(0, 1024),
        "pull_secrets": st.lists(names, max_size=2),
        "node_selector": st.dictionaries(names, names, max_size=2),
        "tolerations": st.lists(st.sampled_from([GPU, {"operator": "Exists"}, {"key": "gpu"}]), max_size=2),
        "memory": st.builds("{}{}".format, st.integers(1, 10**6), st.sampled_from(_UNITS)),
    },
)


@given(choices)
def test_no_manifest_has_what_is_not_allowed(fields: dict[str, Any]) -> None:
    """Whatever is asked for: a pod of the administrator's classes, nodes, tolerations, devices and size."""
    try:
        settings = job_settings(fields, ALLOWED)
    except ConfigError:
        return
    pod = job_manifest("j", SPEC, settings, Placement())["spec"]["template"]["spec"]
    assert pod.get("priorityClassName") in (None, "batch", "low")
    assert pod.get("runtimeClassName") in (None, "gvisor", "nvidia")
    assert set(pod.get("nodeSelector", {})) <= {"pool"}
    assert all(toleration == GPU for toleration in pod.get("tolerations", []))
    assert {secret["name"] for secret in pod.get("imagePullSecrets", [])} <= {"lab-registry"}
    limits = pod["containers"][0]["resources"]["limits"]
    assert set(limits) <= {"memory", "nvidia.com/gpu", "amd.com/gpu"}
    assert amount(limits["memory"]) <= 16 * 2**30


def test_tolerations_are_compared_as_wholes() -> None:
    """The operator's default is Equal, written or not."""
    limits = JobLimits(tolerations=(Toleration(key="a", value="b"),))
    assert limits.settings({"tolerations": [{"key": "a", "operator": "Equal", "value": "b"}]}, JobSettings())
