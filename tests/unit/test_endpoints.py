"""Which Kafka the data are in: every reader of the four variables gives one answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from inject_scripts import console
from inject_scripts.sinks import sink
from mainstem.cli import where
from mainstem.errors import ConfigError
from mainstem.jobs.spec import JobSpec
from mainstem.platform.home import Home
from mainstem.platform.plan import Addresses, environment
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.endpoints import Endpoint, cloud, data, data_environ
from mainstem.serving.spec import ServingSpec

VARIABLES = ("KML_CLOUD_BOOTSTRAP_SERVERS", "KML_CLOUD_CLIENT_CONFIG", "DATA_BOOTSTRAP_SERVERS", "DATA_CLIENT_CONFIG")
OTHERS = {
    "MAINSTEM_TOKEN": "t", "FEDERATED_MODEL_ID": "ddy6heod", "DATA_TOPIC": "ward", "INPUT_CONFIG": "{}",
    "SERVING_NAME": "ward", "FEDERATION_ID": "ddy6heod", "MODEL_VERSION": "1", "INPUT_TOPIC": "in",
    "OUTPUT_TOPIC": "out",
}  # fmt: skip
CASES: dict[str, tuple[tuple[str, str, str, str], tuple[str, str | None]]] = {
    "one Kafka, in the clear": (("k:1", "", "", ""), ("k:1", None)),
    "what kustomize/production sets": (("k:1", "cloud", "", ""), ("k:1", "cloud")),
    "one Kafka, named twice": (("k:1", "cloud", "k:1", ""), ("k:1", "cloud")),
    "one Kafka, its brokers in another order": (("k:1,k:2", "cloud", "k:2, k:1", ""), ("k:2, k:1", "cloud")),
    "one Kafka, another user for the data": (("k:1", "cloud", "", "own"), ("k:1", "own")),
    "another Kafka never sees the cloud's password": (("k:1", "cloud", "d:1", ""), ("d:1", None)),
    "another Kafka with its own file": (("k:1", "cloud", "d:1", "own"), ("d:1", "own")),
}


def _told(config: Mapping[str, object]) -> tuple[str, str | None]:
    """Where these settings lead, and which file they are of: each file names its own `client.id`."""
    client = config.get("client.id")
    return str(config["bootstrap.servers"]), str(client) if client else None


def _job(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    spec = JobSpec.from_environ(environ)
    assert JobSpec.from_environ(spec.to_environ()) == spec
    return spec.data_bootstrap, spec.data_client_config and Path(spec.data_client_config).name


def _replica(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    spec = ServingSpec.from_environ(environ)
    assert ServingSpec.from_environ(spec.to_environ()) == spec
    return spec.data_bootstrap, spec.data_client_config and Path(spec.data_client_config).name


def _logger(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    settings = LoggerSettings.for_data(environ)
    return settings.bootstrap, settings.client_config and Path(settings.client_config).name


def _command(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    return _told(where.data_config(Home(home)))


def _script(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    seen: list[tuple[str, str | None]] = []
    monkeypatch.setattr(console, "StreamProducer", lambda config, timeout: seen.append(_told(config)))
    parser = argparse.ArgumentParser()
    console.add_options(parser)
    console.producer(parser.parse_args([]))
    return seen[0]


def _sink(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    seen: list[tuple[str, str | None]] = []

    class Sent(Exception):
        """The producer is made: that is all that is asked."""

    def producer(config: Mapping[str, object]) -> None:
        seen.append(_told(config))
        raise Sent

    monkeypatch.setattr(sink, "StreamProducer", producer)
    with pytest.raises(Sent):
        sink.KafkaMLSink(console.default_bootstrap(), "ward", 0, "RAW")
    return seen[0]


def _platform(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    """What `mainstem up` gives its children, as these read it."""
    given = environment(Home(home), Addresses(8000, environ["KML_CLOUD_BOOTSTRAP_SERVERS"], None), log_json=False)
    return _job(given, home, monkeypatch)


Reader = Callable[[dict[str, str], Path, pytest.MonkeyPatch], tuple[str, str | None]]
READERS: tuple[Reader, ...] = (_job, _replica, _logger, _command, _script, _sink, _platform)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", CASES)
def test_all_agree(case: str, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs, replicas, the logger, commands, scripts, sinks and the platform's children find the same Kafka."""
    (cloud_servers, cloud_file, data_servers, data_file), (servers, file) = CASES[case]
    for name in ("cloud", "own"):
        (tmp_path / name).write_text(f"client.id={name}\n")
    paths = [str(tmp_path / name) if name else "" for name in (cloud_file, data_file)]
    for name, value in zip(VARIABLES, (cloud_servers, paths[0], data_servers, paths[1]), strict=True):
        monkeypatch.setenv(name, value)
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    environ = {**OTHERS, **dict(zip(VARIABLES, (cloud_servers, paths[0], data_servers, paths[1]), strict=True))}
    assert reader(environ, tmp_path, monkeypatch) == (servers, file)


def test_a_platform_s_kafka_counts_where_no_variable_names_one() -> None:
    """With the property file of the environment; and a child that is given the answer gives it again."""
    environ = {"KML_CLOUD_CLIENT_CONFIG": "cloud"}
    found = data(environ, otherwise="here:1")
    assert found == Endpoint("here:1", "cloud") == cloud(environ, otherwise="here:1")
    assert data({**environ, **data_environ(found)}) == found
    assert data({}) == Endpoint("") and data_environ(Endpoint("")) == {}


def test_the_commands_say_where_no_kafka_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence with the way out, also where the data alone have one: the cloud is not known by that."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"no Kafka is known: .* KML_CLOUD_BOOTSTRAP_SERVERS"):
        where.data_kafka(Home(tmp_path))
    monkeypatch.setenv("DATA_BOOTSTRAP_SERVERS", "d:1")
    assert where.data_kafka(Home(tmp_path)).servers == "d:1"
    with pytest.raises(ConfigError, match="no Kafka is known"):
        where.cloud_kafka(Home(tmp_path))
