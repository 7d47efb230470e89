"""A training Job's settings, to and from its environment: the whole contract between launcher and Job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mainstem.errors import ConfigError
from mainstem.protocol.topics import check_client_id, check_federation_id
from mainstem.runtime import endpoints
from mainstem.runtime.environ import checked, optional, required
from mainstem.runtime.exits import Exit
from mainstem.streams.announcement import StreamRange, exact, parse_ranges
from mainstem.streams.codecs import FORMATS

FOR_GOOD = (Exit.UNUSABLE, Exit.UNFIT)
"""After these the same Job would fail again: no launcher tries."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One client of one federation. Rates are shares in [0, 1); `client_id` None means a stored random id.

    `data_topic` is `t:p:start:end,...` (exact ranges) or a bare topic name; `total_msg` how many records it has.
    `topic_ids` are the ids of its topics, by name, where it is known which topics were announced. `framework` is what
    the federation's model is said to be of: it only says what to load early.
    """

    cloud_bootstrap: str
    data_bootstrap: str
    data_topic: str
    input_format: str
    input_config: str
    federation: str
    client_id: str | None = None
    validation_rate: float = 0.1
    test_rate: float = 0.0
    total_msg: int | None = None
    incremental: bool = False
    unsupervised_topic: str | None = None
    cloud_client_config: str | None = None
    data_client_config: str | None = None
    topic_ids: Mapping[str, str] = field(default_factory=dict, hash=False)
    framework: str = "tf"

    @property
    def ranges(self) -> tuple[StreamRange, ...]:
        """The stream's ranges; a bare topic has one without offsets."""
        return parse_ranges(self.data_topic)

    @property
    def grows(self) -> bool:
        """Whether records that come while it trains belong to the stream; never to exact ranges."""
        return self.incremental and not exact(self.ranges)

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> JobSpec:
        """Read the design's variables; raises ConfigError naming the variable and the fix."""
        _check_case(optional(environ, "CASE"))
        federation = required(environ, "FEDERATED_MODEL_ID")
        input_format = environ.get("INPUT_FORMAT", "RAW").strip().upper()
        if input_format not in FORMATS:
            raise ConfigError(f"INPUT_FORMAT is {input_format!r}; it must be one of {', '.join(FORMATS)}")
        input_config = required(environ, "INPUT_CONFIG")
        try:
            if not isinstance(json.loads(input_config), dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"INPUT_CONFIG must be a JSON object: {error}") from error
        required(environ, endpoints.CLOUD_SERVERS)
        cloud, data = endpoints.cloud(environ), endpoints.data(environ)
        client = optional(environ, "FEDERATED_CLIENT_ID")
        spec = JobSpec(
            cloud_bootstrap=cloud.servers,
            data_bootstrap=data.servers,
            data_topic=required(environ, "DATA_TOPIC"),
            input_format=input_format,
            input_config=input_config,
            federation=checked("FEDERATED_MODEL_ID", check_federation_id, federation),
            client_id=checked("FEDERATED_CLIENT_ID", check_client_id, client) if client else None,
            validation_rate=_rate(environ, "VALIDATION_RATE", 0.1),
            test_rate=_rate(environ, "TEST_RATE", 0.0),
            total_msg=_count(environ, "TOTAL_MSG"),
            incremental=environ.get("INCREMENTAL", "").strip().lower() in ("1", "true", "yes"),
            unsupervised_topic=optional(environ, "UNSUPERVISED_TOPIC"),
            cloud_client_config=cloud.properties,
            data_client_config=data.properties,
            topic_ids=_ids(environ, "DATA_TOPIC_IDS"),
            framework=optional(environ, "FEDERATED_FRAMEWORK") or "tf",
        )
        if spec.validation_rate + spec.test_rate >= 1:
            raise ConfigError("VALIDATION_RATE and TEST_RATE together must leave something to train on (below 1)")
        try:
            _ = spec.ranges
        except ConfigError as error:
            raise ConfigError(f"DATA_TOPIC: {error}") from error
        return spec

    def to_environ(self) -> dict[str, str]:
        """The inverse of `from_environ`; absent settings are absent."""
        values = {
            endpoints.CLOUD_SERVERS: self.cloud_bootstrap,
            endpoints.DATA_SERVERS: self.data_bootstrap,
            "DATA_TOPIC": self.data_topic,
            "DATA_TOPIC_IDS": ids_text(self.topic_ids) or None,
            "INPUT_FORMAT": self.input_format,
            "INPUT_CONFIG": self.input_config,
            "FEDERATED_MODEL_ID": self.federation,
            "FEDERATED_CLIENT_ID": self.client_id,
            "FEDERATED_FRAMEWORK": None if self.framework == "tf" else self.framework,
            "VALIDATION_RATE": repr(self.validation_rate),
            "TEST_RATE": repr(self.test_rate),
            "TOTAL_MSG": None if self.total_msg is None else str(self.total_msg),
            "INCREMENTAL": "true" if self.incremental else None,
            "UNSUPERVISED_TOPIC": self.unsupervised_topic,
            endpoints.CLOUD_PROPERTIES: self.cloud_client_config,
            endpoints.DATA_PROPERTIES: self.data_client_config,
        }
        return {name: value for name, value in values.items() if value is not None}


_CASES = {
    "2": "a stream that grows; here that is INCREMENTAL=true, with a topic's bare name in DATA_TOPIC",
    "3": "a model in parts at the edge, the fog and the cloud; here a model is trained whole",
    "4": "a model in parts on a stream that grows; here a model is trained whole, and INCREMENTAL=true lets it grow",
    "5": "a blockchain; here the federation's own topics are the ledger, and `mainstem verify` proves it",
}
"""Kafka-ML's kinds of training that are none here: what each means, and what does it."""


def _check_case(case: str | None) -> None:
    """Kafka-ML's backend gives each Job its CASE: refuse what would be trained otherwise than it asks."""
    if case in (None, "1"):
        return
    means = _CASES.get(case or "", "no kind of training")
    raise ConfigError(f"CASE is {(case or '')[:40]!r}: {means}. Leave CASE out, or set it to 1")


def ids_text(topic_ids: Mapping[str, str]) -> str:
    """DATA_TOPIC_IDS: `topic=id,...`."""
    return ",".join(f"{topic}={id_}" for topic, id_ in topic_ids.items())


def _ids(environ: Mapping[str, str], name: str) -> dict[str, str]:
    pairs = [part.strip().partition("=") for part in (optional(environ, name) or "").split(",") if part.strip()]
    if not all(topic and id_ for topic, _, id_ in pairs):
        raise ConfigError(f"{name} must read topic=id,... with the ids that Kafka has given the stream's topics")
    return {topic: id_ for topic, _, id_ in pairs}


def _rate(environ: Mapping[str, str], name: str, default: float) -> float:
    text = optional(environ, name)
    try:
        value = default if text is None else float(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; it must be a number from 0 up to, not including, 1") from error
    if not 0 <= value < 1:
        raise ConfigError(f"{name} is {value}; it must be from 0 up to, not including, 1")
    return value


def _count(environ: Mapping[str, str], name: str) -> int | None:
    text = optional(environ, name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
        raise ConfigError(f"{name} is {text[:40]!r}; it must be a whole number above 0, or left out: then all is read")
    return int(text)
