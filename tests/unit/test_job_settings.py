"""The settings of Jobs on Kubernetes: what is taken, and how a mistake is told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.jobs.kubernetes.limits import JobLimits, own_settings
from mainstem.jobs.kubernetes.settings import IMAGE, JOB_FIELDS, JobSettings

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def test_the_environment_gives_the_defaults() -> None:
    """Text as it is, lists and objects as JSON, and `image` for the user that the image names."""
    settings = JobSettings.from_environ(
        {
            "MAINSTEM_JOB_IMAGE": "registry.example:5000/training:2",
            "MAINSTEM_JOB_IMAGE_PULL_POLICY": "Always",
            "MAINSTEM_JOB_PULL_SECRETS": '["registry"]',
            "MAINSTEM_JOB_GPUS": "2",
            "MAINSTEM_JOB_MEMORY": "8Gi",
            "MAINSTEM_JOB_NODE_SELECTOR": '{"pool": "gpu"}',
            "MAINSTEM_JOB_TOLERATIONS": '[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]',
            "MAINSTEM_JOB_USER": "image",
            "MAINSTEM_JOB_NAMESPACE": "elsewhere",
            "MAINSTEM_JOB_CPU": " ",
        }
    )
    assert (settings.image, settings.image_pull_policy) == ("registry.example:5000/training:2", "Always")
    assert (settings.gpus, settings.memory, settings.user, settings.cpu) == (2, "8Gi", None, "500m")
    assert settings.node_selector == {"pool": "gpu"} and settings.tolerations[0].key == "gpu"
    assert settings.pull_secrets == ["registry"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MAINSTEM_JOB_GPUS", "many", "MAINSTEM_JOB_GPUS is 'many'; it must be a whole number from 0 to 1024"),
        ("MAINSTEM_JOB_GPUS", "-1", "MAINSTEM_JOB_GPUS is -1"),
        ("MAINSTEM_JOB_MEMORY", "lots", "MAINSTEM_JOB_MEMORY is 'lots'; it must be a Kubernetes quantity"),
        ("MAINSTEM_JOB_IMAGE_PULL_POLICY", "always", "Always, IfNotPresent or Never"),
        ("MAINSTEM_JOB_NODE_SELECTOR", "pool=gpu", 'such as {"pool": "gpu"}'),
        ("MAINSTEM_JOB_TOLERATIONS", '[{"key": "gpu"}, {"kei": 1}]', "as Kubernetes writes them"),
    ],
)
def test_a_wrong_variable_is_named_with_its_fix(name: str, value: str, says: str) -> None:
    """Before any Job is made."""
    with pytest.raises(ConfigError, match=r"^MAINSTEM_JOB_") as error:
        JobSettings.from_environ({name: value})
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"memory": "2 GB"}, "job.memory is '2 GB'"),
        ({"memory": "0"}, "above 0"),
        ({"cpu": 2}, "job.cpu is 2; it must be a Kubernetes quantity above 0 such as 500m or 2"),
        ({"gpus": True}, "job.gpus is True"),
        ({"mem": "2Gi"}, "job.mem is no setting of a Job; there are image, "),
        ({"priority_class": "Very High"}, "a Kubernetes name"),
        ({"node_selector": {"pool": 1}}, "an object of labels"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "job.tolerations"),
        ({"tolerations": [{"operator": "Equal", "value": "b"}]}, "job.tolerations"),
        ({"deadline_seconds": 0}, "a whole number of seconds from 1"),
        ({"pull_secrets": ["Not A Name"]}, "names of Secrets"),
        ({"user": 0}, "a user's number above 0"),
        ({"user": 5}, "MAINSTEM_JOB_USER"),
        ({"image": "$(rm -rf)"}, "an image's name"),
        ({"image": "lab/../evil:1"}, "an image's name"),
        ({"image": "lab//evil:1"}, "an image's name"),
        ({"image": "evil:1"}, "MAINSTEM_JOB_IMAGES"),
        (["memory"], "an object such as"),
    ],
)
def test_a_deployment_s_mistake_is_named_with_its_fix(fields: Any, says: str) -> None:
    """In one sentence that begins with the field."""
    with pytest.raises(ConfigError) as error:
        own_settings(fields, JobSettings(), JobLimits())
    assert says in str(error.value) and str(error.value).startswith("job")


@given(st.sampled_from(JOB_FIELDS), json_values)
def test_any_value_is_taken_or_refused_in_a_sentence(name: str, value: Any) -> None:
    """Whatever JSON a person sends: settings that can be stored as JSON, or a ConfigError that names the field."""
    try:
        taken = own_settings({name: value}, JobSettings(), JobLimits())
    except ConfigError as error:
        told = str(error)
    else:
        told = f"job.{name} is taken"
        assert JobSettings().overridden(taken) == JobSettings().overridden(json.loads(json.dumps(taken)))
    assert told.startswith(f"job.{name} ")


def test_the_default_image_is_this_version_s() -> None:
    """As `build.sh` tags it."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"federated_model_training_tensorflow:{project['version']}" == IMAGE


def test_single_fields_override() -> None:
    """The others keep their defaults, and null takes an optional one away."""
    defaults = JobSettings(memory="4Gi", priority_class="high", deadline_seconds=9)
    settings = defaults.overridden({"cpu": "2", "priority_class": None})
    assert (settings.memory, settings.cpu, settings.priority_class, settings.deadline_seconds) == ("4Gi", "2", None, 9)
