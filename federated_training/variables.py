"""Every environment variable that a training Job reads, in words: for `--help` and for docs/job-by-hand.md.

`Settings`, `logs` and `keras_runtime` read them; a test holds the names and defaults here against what those do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `default` is the value that it has when it is not set; None where there is none.

    `otherwise` says in words what holds instead, where no value does.
    """

    name: str
    meaning: str
    default: str | None = None
    otherwise: str = "required"

    @property
    def unset(self) -> str:
        """What holds when it is not set, as Markdown."""
        return self.otherwise if self.default is None else f"`{self.default}`"


GROUPS: Final[dict[str, tuple[Variable, ...]]] = {
    "Which federation, and where Kafka is": (
        Variable("FEDERATED_MODEL_ID", "the federation's id: 8 characters of a-z and 0-9"),
        Variable(
            "FEDERATED_CLIENT_ID",
            "this client's id, the same at every start: 1 to 64 of A-Z a-z 0-9 . _ -",
            otherwise="a random one, kept in MAINSTEM_HOME for this federation and stream",
        ),
        Variable("KML_CLOUD_BOOTSTRAP_SERVERS", "the cloud's Kafka, where the federation's topics are: host:port,..."),
        Variable("DATA_BOOTSTRAP_SERVERS", "the Kafka of the samples", otherwise="that of KML_CLOUD_BOOTSTRAP_SERVERS"),
        Variable(
            "KML_CLOUD_CLIENT_CONFIG",
            "librdkafka property file of the cloud's Kafka, for TLS and SCRAM",
            otherwise="none: plaintext",
        ),
        Variable("DATA_CLIENT_CONFIG", "the same of the samples' Kafka", otherwise="none: plaintext"),
    ),
    "The stream": (
        Variable(
            "DATA_TOPIC",
            "the samples: exact ranges as topic:partition:start:end,... (end exclusive), or a topic's name",
        ),
        Variable("INPUT_FORMAT", "RAW, AVRO or JSON", "RAW"),
        Variable("INPUT_CONFIG", "how a record becomes a sample: a JSON object (docs/streams.md)"),
        Variable("VALIDATION_RATE", "the part kept for validation: from 0 up to, not including, 1", "0.1"),
        Variable("TEST_RATE", "the part kept for the final evaluation, likewise; both together below 1", "0.0"),
        Variable(
            "TOTAL_MSG", "of a topic's name: so many records from its beginning, waited for", otherwise="what is there"
        ),
        Variable("INCREMENTAL", "true: records that come while it trains belong to the stream", "false"),
        Variable("UNSUPERVISED_TOPIC", "accepted; samples without labels are not trained on", otherwise="none"),
        Variable(
            "DATA_TOPIC_IDS",
            "the ids that Kafka gave the topics, as topic=id,...: a topic that was made again is then refused",
            otherwise="not compared",
        ),
        Variable("CASE", "Kafka-ML's kind of training; only 1 is a kind here (docs/kafka-ml.md)", "1"),
    ),
    "This process": (
        Variable("MAINSTEM_TRAINING_THREADS", "above 1 trains faster, on some machines with other bits", "1"),
        Variable(
            "MAINSTEM_TRAINING_PATIENCE",
            "seconds to wait for the federation, for the stream's records, and for a Kafka that is away",
            "1800",
        ),
        Variable(
            "MAINSTEM_HOME",
            "a directory for logs/training.log and client ids",
            otherwise="no log file; client ids in ~/.mainstem",
        ),
        Variable("MAINSTEM_LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", "INFO"),
        Variable("MAINSTEM_LOG_FORMAT", "text, or json: an object a line", "text"),
        Variable("MAINSTEM_LOG_STREAM", "off: lines go to the file in MAINSTEM_HOME alone", "on"),
        Variable("NO_COLOR", "anything: no colours on a terminal", otherwise="colours on a terminal"),
        Variable("KERAS_BACKEND", "tensorflow, jax or torch, where it is installed", "tensorflow"),
        Variable("CUDA_VISIBLE_DEVICES", "the GPUs that may be used, such as 0", "-1"),
        Variable("TF_CPP_MIN_LOG_LEVEL", "how little TensorFlow says: 0 all, 3 errors only", "3"),
    ),
}


def help_text() -> str:
    """All of them, for a terminal."""
    lines: list[str] = []
    for title, variables in GROUPS.items():
        lines += [f"{title}:"] + [f"  {v.name}\n      {v.meaning} ({_short(v)})" for v in variables] + [""]
    return "\n".join(lines)


def table() -> str:
    """All of them, as the tables of docs/job-by-hand.md."""
    parts: list[str] = []
    for title, variables in GROUPS.items():
        rows = [f"| `{v.name}` | {v.meaning} | {v.unset} |" for v in variables]
        parts += [f"### {title}", "", "| variable | what | when it is not set |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(parts)


def _short(variable: Variable) -> str:
    return variable.otherwise if variable.default is None else f"default: {variable.default}"
