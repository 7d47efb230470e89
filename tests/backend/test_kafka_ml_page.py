"""docs/kafka-ml.md, line by line, against what takes Kafka-ML's calls and fields here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import inject_scripts
from backend.catalog.serializers import ConfigurationSerializer, ModelCreateSerializer
from backend.inference.serializers import InferenceCreateSerializer
from backend.rest.kafka_ml import Names
from backend.runs.api.serializers import DeploymentCreateSerializer
from backend.streams.serializers import AnnouncementSerializer
from federated_training.job.variables import GROUPS
from mainstem.streams.announcement import DataAnnouncement
from tests.backend.test_roles import MATRIX

pytestmark = pytest.mark.backend

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "kafka-ml.md").read_text("utf-8")
AS_IT_IS, OTHERWISE, NOT_HERE = "as it is", "otherwise", "not here"

FIELDS: dict[str, tuple[Any, str]] = {
    "A model": (ModelCreateSerializer, "name description imports code distributed father framework"),
    "A configuration": (ConfigurationSerializer, "name description ml_models"),
    "A deployment": (
        DeploymentCreateSerializer,
        """configuration optimizer learning_rate loss metrics incremental indefinite stream_timeout monitoring_metric
        change improvement unsupervised unsupervised_rounds confidence batch tf_kwargs_fit tf_kwargs_val pth_kwargs_fit
        pth_kwargs_val conf_mat_settings federated agg_rounds min_data agg_strategy data_restriction blockchain
        gpumem""",
    ),
    "An inference": (
        InferenceCreateSerializer,
        """model_result replicas input_format input_config input_topic output_topic limit output_upper token
        external_host input_kafka_broker output_kafka_broker upper_kafka_broker gpumem""",
    ),
    "A data source": (
        AnnouncementSerializer,
        "topic input_format input_config description validation_rate test_rate total_msg deployment time",
    ),
}
"""Each resource's fields, as the serializers of Kafka-ML's backend list them."""

ARGUMENTS = {
    "RawSink": "boostrap_servers topic deployment_id data_type label_type description data_reshape label_reshape "
    "validation_rate test_rate control_topic group_id unsupervised_topic",
    "FederatedRawSink": "boostrap_servers topic deployment_id data_type label_type description dataset_restrictions "
    "data_reshape label_reshape validation_rate test_rate control_topic group_id unsupervised_topic",
    "OnlineRawSink": "boostrap_servers topic deployment_id data_type label_type description data_reshape label_reshape "
    "validation_rate control_topic group_id unsupervised_topic",
    "OnlineFederatedRawSink": "boostrap_servers topic deployment_id data_type label_type description "
    "dataset_restrictions data_reshape label_reshape validation_rate control_topic group_id unsupervised_topic",
    "AvroSink": "boostrap_servers topic deployment_id data_scheme_filename label_scheme_filename description "
    "validation_rate test_rate control_topic group_id",
}
"""Of each sink's constructor, in Kafka-ML's order."""


def rows(title: str) -> list[tuple[list[str], str, str]]:
    """A section's table: the names of its first cell, the verdict, the last cell."""
    section = re.split(r"^#{2,3} ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = [[c.strip() for c in line.strip("| ").split(" | ")] for line in section.splitlines() if "|" in line]
    found = [(re.findall(r"`([^`]+)`", c[0]), c[1], c[2] if len(c) > 2 else "") for c in cells if len(c) > 1]
    assert found, title
    return [row for row in found if row[1] in (AS_IT_IS, OTHERWISE, NOT_HERE)]


def test_every_line_has_a_verdict() -> None:
    """Nothing is left open."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| field"))]
    told = [line for line in lines if " verdict |" not in line]
    assert [line for line in told if not re.search(r"\| (as it is|otherwise|not here) \|", line)] == []


@pytest.mark.parametrize("resource", FIELDS)
def test_a_resource_s_fields(resource: str) -> None:
    """Each of Kafka-ML's stands there once, with the verdict that the serializer comes to."""
    serializer, theirs = FIELDS[resource]
    verdicts = {name: (verdict, here) for names, verdict, here in rows(resource) for name in names}
    assert set(verdicts) == set(theirs.split())
    foreign: Names = serializer.foreign
    for name, (verdict, here) in verdicts.items():
        if verdict == AS_IT_IS:
            assert name in serializer().fields and name not in foreign, name
        elif verdict == NOT_HERE:
            assert foreign[name].here, name
        else:
            assert (foreign[name].ours or foreign[name].read) and not foreign[name].here, name
            assert f"`{foreign[name].ours}`" in here or foreign[name].read, name


def test_the_calls() -> None:
    """Each call that a line names here is an address of the API that takes that method; none of Kafka-ML's is left."""
    for theirs, verdict, here in rows("REST, call by call"):
        calls = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) ([^`]+)`", here)
        assert calls or verdict == NOT_HERE, theirs
        for method, path in calls:
            assert method.lower() in MATRIX[path.partition("?")[0]], (method, path)
        if verdict == AS_IT_IS:
            same = [call for call in theirs if call.endswith("/")]
            assert all(call in here for call in same), theirs


def test_the_sinks() -> None:
    """Their classes have the calls that the page names, and Kafka-ML's arguments in Kafka-ML's order."""
    for (name, *_), verdict, here in rows("Scripts that send data"):
        if verdict != AS_IT_IS:
            assert not hasattr(inject_scripts, name)
            continue
        sink = getattr(inject_scripts, name)
        calls = re.findall(r"`(\w+)`", here)
        assert calls and all(callable(getattr(sink, call)) for call in calls)
        arguments = list(inspect.signature(sink).parameters)
        theirs = ARGUMENTS[name].split()
        assert [argument for argument in arguments if argument in theirs] == theirs, name


def test_the_control_message_and_the_variables() -> None:
    """The fields that an announcement is read from, and the variables that a Job reads, by the same names."""
    said = {name for names, _, _ in rows("The control message") for name in names}
    read = set(DataAnnouncement.__dataclass_fields__) - {"federation", "readable", "restrictions"}
    assert said == read | {"dataset_restrictions"}
    known = {variable.name for variables in GROUPS.values() for variable in variables}
    for names, verdict, _ in rows("The training Job"):
        if verdict == AS_IT_IS or names == ["CASE"]:
            assert set(names) <= known
        elif names != ["UNSUPERVISED_TOPIC"]:
            assert not set(names) & known
