"""The environment is the whole contract between a launcher and a Job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.jobs.spec import JobSpec

ENVIRON = {
    "KML_CLOUD_BOOTSTRAP_SERVERS": "kafka:9092",
    "DATA_BOOTSTRAP_SERVERS": "edge:9092",
    "DATA_TOPIC": "digits:0:0:500",
    "INPUT_FORMAT": "RAW",
    "INPUT_CONFIG": '{"data_type": "float32", "data_reshape": "28 28"}',
    "VALIDATION_RATE": "0.1",
    "TOTAL_MSG": "500",
    "FEDERATED_MODEL_ID": "ddy6heod",
    "FEDERATED_CLIENT_ID": "site-a",
}

rates = st.floats(0, 0.49)
text = st.from_regex(r"[A-Za-z0-9._:/-]{1,30}", fullmatch=True)


@given(
    st.builds(
        JobSpec,
        cloud_bootstrap=text,
        data_bootstrap=text,
        data_topic=st.sampled_from(["t", "t:0:5:10", "t:0:0:3,u:1:4"]),
        input_format=st.sampled_from(["RAW", "AVRO", "JSON"]),
        input_config=st.sampled_from(["{}", '{"data_reshape": "28 28"}']),
        federation=st.from_regex(r"[a-z0-9]{8}", fullmatch=True),
        client_id=st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        validation_rate=rates,
        test_rate=rates,
        total_msg=st.none() | st.integers(1, 10**17),
        incremental=st.booleans(),
        unsupervised_topic=st.none() | text,
        cloud_client_config=st.none() | text,
        data_client_config=st.none() | text,
    )
)
def test_round_trip(spec: JobSpec) -> None:
    """What a launcher writes, a Job reads, to the last bit of a rate; a Kafka that is both has one file unless told."""
    if spec.data_client_config is None and spec.data_bootstrap == spec.cloud_bootstrap:
        spec = replace(spec, data_client_config=spec.cloud_client_config)
    assert JobSpec.from_environ(spec.to_environ()) == spec


def test_defaults() -> None:
    """Kafka-ML's own Job omits rates and counts; the data's Kafka defaults to the cloud's."""
    few = {k: ENVIRON[k] for k in ("KML_CLOUD_BOOTSTRAP_SERVERS", "DATA_TOPIC", "INPUT_CONFIG", "FEDERATED_MODEL_ID")}
    spec = JobSpec.from_environ(few)
    assert (spec.input_format, spec.data_bootstrap, spec.client_id, spec.total_msg) == ("RAW", "kafka:9092", None, None)
    assert (spec.validation_rate, spec.test_rate, spec.incremental) == (0.1, 0.0, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KML_CLOUD_BOOTSTRAP_SERVERS", " "),
        ("DATA_TOPIC", ""),
        ("DATA_TOPIC", "t:0:9:3"),
        ("INPUT_FORMAT", "CSV"),
        ("INPUT_CONFIG", "nonsense"),
        ("INPUT_CONFIG", "[1]"),
        ("INPUT_CONFIG", "[" * 100_000),
        ("INPUT_CONFIG", '{"a":' + "9" * 5000 + "}"),
        ("VALIDATION_RATE", "1"),
        ("VALIDATION_RATE", "nan"),
        ("VALIDATION_RATE", "-0.1"),
        ("VALIDATION_RATE", "ten"),
        ("TEST_RATE", "0.95"),
        ("TOTAL_MSG", "0"),
        ("TOTAL_MSG", "-5"),
        ("TOTAL_MSG", "1e3"),
        ("TOTAL_MSG", "9" * 5000),
        ("TOTAL_MSG", "²"),
        ("FEDERATED_MODEL_ID", "UPPER123"),
        ("FEDERATED_MODEL_ID", ""),
        ("FEDERATED_CLIENT_ID", "a b"),
    ],
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigError, match=name):
        JobSpec.from_environ(ENVIRON | {name: value})


@given(
    st.dictionaries(st.sampled_from([*ENVIRON, "TEST_RATE", "INCREMENTAL", "UNSUPERVISED_TOPIC"]), st.text(max_size=20))
)
def test_arbitrary_environment(changes: dict[str, str]) -> None:
    """Any text in any variable is read or refused with ConfigError."""
    try:
        spec = JobSpec.from_environ(ENVIRON | changes)
    except ConfigError:
        return
    assert JobSpec.from_environ(spec.to_environ()) == spec


@pytest.mark.parametrize(
    ("case", "means"),
    [
        ("2", "a stream that grows; here that is INCREMENTAL=true, with a topic's bare name in DATA_TOPIC"),
        ("3", "a model in parts at the edge, the fog and the cloud; here a model is trained whole"),
        ("4", "INCREMENTAL=true lets it grow"),
        ("5", "a blockchain; here the federation's own topics are the ledger, and `mainstem verify` proves it"),
        ("one", "no kind of training"),
    ],
)
def test_another_case_of_kafka_ml_is_answered(case: str, means: str) -> None:
    """Its Jobs are told their kind in CASE: 1 is ours, each other one is refused with what does it here."""
    assert JobSpec.from_environ(ENVIRON | {"CASE": "1"}) == JobSpec.from_environ(ENVIRON)
    with pytest.raises(ConfigError) as refused:
        JobSpec.from_environ(ENVIRON | {"CASE": case})
    assert str(refused.value).startswith(f"CASE is '{case}': ") and means in str(refused.value)
    assert str(refused.value).endswith("Leave CASE out, or set it to 1")


def test_kafka_ml_s_count_of_a_live_stream_is_answered() -> None:
    """Its backend writes Python's None into TOTAL_MSG of an online stream."""
    with pytest.raises(ConfigError, match=r"TOTAL_MSG is 'None'; .* or left out: then all is read"):
        JobSpec.from_environ(ENVIRON | {"TOTAL_MSG": "None"})
