"""A deployed version that answers a topic: its replicas' settings, to and from their environment, and their records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mainstem.errors import ConfigError
from mainstem.protocol.messages import InputSpec
from mainstem.protocol.topics import check_federation_id, check_topic_name
from mainstem.runtime import endpoints
from mainstem.runtime.environ import checked, optional, required
from mainstem.streams.announcement import check_samples
from mainstem.streams.codecs import FORMATS, Codec, codec_for

FEDERATION_HEADER: Final = "mainstem-federation"
VERSION_HEADER: Final = "mainstem-version"
SOURCE_HEADER: Final = "mainstem-source"
"""`topic:partition:offset` of the record that is answered."""
STATUS_HEADER: Final = "mainstem-status"
MISSING_HEADER: Final = "mainstem-missing"
"""Tensors that stay at each site, in whose place the version has version 0's; only where there are some."""
ANSWERED: Final = "ok"
REFUSED: Final = "refused"
"""The answer's value says why in `error`."""

OUTPUTS: Final = "outputs"
"""Answers are `{"outputs": ...}`, and `{"error": ...}` where a record is refused."""
VALUES: Final = "values"
"""Answers are `{"values": ...}` as Kafka-ML writes them; a record that is refused has none."""
FORMS: Final = (OUTPUTS, VALUES)
EXACTLY_ONCE: Final = "exactly-once"
AT_LEAST_ONCE: Final = "at-least-once"
"""Without transactions, whose ends old clients take for messages; after a kill an answer may come twice."""
DELIVERIES: Final = (EXACTLY_ONCE, AT_LEAST_ONCE)

READY_FILE: Final = "ready"
"""In the replica's HOME: touched at each turn of its loop once the model is loaded."""
READY_SECONDS: Final = 30.0
"""How old it may be while the replica counts as ready."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_MEMBER: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Question:
    """A record of the input topic; `headers` with their order and their repetitions."""

    place: RecordPlace
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A record for the output topic. `refused`: it holds no prediction; `silent`: it is counted and not written."""

    place: RecordPlace
    key: bytes | None
    value: bytes
    headers: Headers
    refused: bool
    silent: bool = False


@dataclass(frozen=True, slots=True)
class AnswerTally:
    """Records that were answered, and of them those that were refused."""

    answered: int = 0
    refused: int = 0

    def __add__(self, other: AnswerTally) -> AnswerTally:
        return AnswerTally(self.answered + other.answered, self.refused + other.refused)

    def text(self) -> str:
        """As it is kept beside a committed offset."""
        return json.dumps({"answered": self.answered, "refused": self.refused})

    @staticmethod
    def parse(text: str | None) -> AnswerTally:
        """The inverse of `text`; anything else counts as nothing."""
        try:
            kept = json.loads(text or "")
            return AnswerTally(int(kept["answered"]), int(kept["refused"]))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return AnswerTally()


@dataclass(frozen=True, slots=True)
class ServingSpec:
    """What a replica is told. Replicas of one `name` share the input topic's partitions.

    `sha256` is that of the version's tensors; without it the version is found by its number. `member` names the
    replica among its fellows where it keeps its place (a local process): its successor then ends at once what it left
    open; without one (a pod) Kafka ends that after `exchange.OPEN_SECONDS`. `answers` is one of `FORMS`, `delivery` of
    `DELIVERIES`.
    """

    name: str
    cloud_bootstrap: str
    data_bootstrap: str
    federation: str
    version: int
    input_topic: str
    output_topic: str
    input_format: str
    input_config: str
    sha256: str | None = None
    member: str | None = None
    cloud_client_config: str | None = None
    data_client_config: str | None = None
    answers: str = OUTPUTS
    delivery: str = EXACTLY_ONCE

    @property
    def group(self) -> str:
        """The replicas' consumer group."""
        return group_of(self.name)

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> ServingSpec:
        """Read the variables; raises ConfigError naming the variable and the fix."""
        required(environ, endpoints.CLOUD_SERVERS)
        cloud, data = endpoints.cloud(environ), endpoints.data(environ)
        input_format = (optional(environ, "INPUT_FORMAT") or "RAW").upper()
        if input_format not in FORMATS:
            raise ConfigError(f"INPUT_FORMAT is {input_format[:40]!r}; it must be one of {', '.join(FORMATS)}")
        source, sink = required(environ, "INPUT_TOPIC"), required(environ, "OUTPUT_TOPIC")
        check_topics(source, sink, "INPUT_TOPIC", "OUTPUT_TOPIC")
        sha256, member = optional(environ, "MODEL_SHA256"), optional(environ, "SERVING_MEMBER")
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise ConfigError("MODEL_SHA256 must be 64 characters of 0-9 and a-f, or be left out")
        if member is not None and not _MEMBER.fullmatch(member):
            raise ConfigError("SERVING_MEMBER must be 1 to 100 characters of A-Z a-z 0-9 . _ -, or be left out")
        return ServingSpec(
            name=check_name(required(environ, "SERVING_NAME"), "SERVING_NAME"),
            cloud_bootstrap=cloud.servers,
            data_bootstrap=data.servers,
            federation=checked("FEDERATION_ID", check_federation_id, required(environ, "FEDERATION_ID")),
            version=_version(required(environ, "MODEL_VERSION")),
            input_topic=source,
            output_topic=sink,
            input_format=input_format,
            input_config=required(environ, "INPUT_CONFIG"),
            sha256=sha256,
            member=member,
            cloud_client_config=cloud.properties,
            data_client_config=data.properties,
            answers=_one_of(environ, "ANSWER_FORM", FORMS),
            delivery=_one_of(environ, "ANSWER_DELIVERY", DELIVERIES),
        )

    def to_environ(self) -> dict[str, str]:
        """The inverse of `from_environ`; absent settings are absent."""
        values = {
            "SERVING_NAME": self.name,
            "SERVING_MEMBER": self.member,
            endpoints.CLOUD_SERVERS: self.cloud_bootstrap,
            endpoints.DATA_SERVERS: self.data_bootstrap,
            "FEDERATION_ID": self.federation,
            "MODEL_VERSION": str(self.version),
            "MODEL_SHA256": self.sha256,
            "INPUT_TOPIC": self.input_topic,
            "OUTPUT_TOPIC": self.output_topic,
            "INPUT_FORMAT": self.input_format,
            "INPUT_CONFIG": self.input_config,
            endpoints.CLOUD_PROPERTIES: self.cloud_client_config,
            endpoints.DATA_PROPERTIES: self.data_client_config,
            "ANSWER_FORM": None if self.answers == OUTPUTS else self.answers,
            "ANSWER_DELIVERY": None if self.delivery == EXACTLY_ONCE else self.delivery,
        }
        return {name: value for name, value in values.items() if value is not None}


def group_of(name: str) -> str:
    """The consumer group of the replicas of that name."""
    return f"mainstem-inference-{name}"


def check_name(value: str, field: str = "name") -> str:
    """Return `value` if a deployed version may be called so; raises ConfigError."""
    if not _NAME.fullmatch(value):
        raise ConfigError(
            f"{field} is {value[:60]!r}; it must be 1 to 40 characters of a-z, 0-9 and '-', with no '-' at its ends"
        )
    return value


def check_topic(value: str, field: str) -> str:
    """Return `value` if it can be the name of a topic of samples or of predictions; raises ConfigError."""
    check_topic_name(value, field)
    if value.startswith(("FED-", "FEDERATED_", "__")):
        raise ConfigError(f"{field} is {value[:60]!r}; names that begin with FED-, FEDERATED_ or __ have a use already")
    return value


def check_topics(source: str, sink: str, source_field: str, sink_field: str) -> None:
    """Refuse names that no topic can have, and answers that would be questions again; raises ConfigError."""
    check_topic(source, source_field)
    check_topic(sink, sink_field)
    if source == sink:
        raise ConfigError(f"{sink_field} is {sink!r} like {source_field}: every answer would be a question again")


def samples_codec(input_format: str, input_config: Mapping[str, object] | str, model: InputSpec) -> Codec:
    """The codec of the input topic: as a training stream's, but without labels, so that keys may be anything.

    Raises ConfigError where it cannot be, or the model cannot take what it gives.
    """
    try:
        given = json.loads(input_config) if isinstance(input_config, str) else input_config
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"INPUT_CONFIG is not JSON: {error}") from error
    if not isinstance(given, Mapping):
        raise ConfigError('INPUT_CONFIG must be a JSON object such as {"data_type": "float32", ...}')
    config = {name: value for name, value in given.items() if not name.startswith("label_")}
    codec = codec_for(input_format, config, wanted=(np.dtype(model.dtype), None))
    check_samples(codec, model)
    return codec


def _one_of(environ: Mapping[str, str], name: str, known: Sequence[str]) -> str:
    """The variable's value, the first of `known` where it is not set."""
    value = optional(environ, name) or known[0]
    if value not in known:
        raise ConfigError(f"{name} is {value[:40]!r}; it must be one of {', '.join(known)}")
    return value


def _version(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ConfigError(f"MODEL_VERSION is {text[:40]!r}; it must be a whole number from 0")
    return int(text)
