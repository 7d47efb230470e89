"""Environment variables in words: for the `--help` of every process, and for the pages that list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


Groups = Mapping[str, Sequence[Variable]]
"""Variables below a title each, in the order of their `--help`."""

CLOUD_PROPERTIES: Final = Variable(
    "KML_CLOUD_CLIENT_CONFIG",
    "librdkafka property file of the cloud's Kafka, for TLS and SCRAM",
    otherwise="none: plaintext",
)
DATA_PROPERTIES: Final = Variable(
    "DATA_CLIENT_CONFIG",
    "the same of the samples' Kafka",
    otherwise="that of KML_CLOUD_CLIENT_CONFIG where both are one Kafka, else none: plaintext",
)
DATA_SERVERS: Final = Variable(
    "DATA_BOOTSTRAP_SERVERS", "the Kafka of the samples", otherwise="that of KML_CLOUD_BOOTSTRAP_SERVERS"
)
CLOUD: Final = (Variable("KML_CLOUD_BOOTSTRAP_SERVERS", "the cloud's Kafka: host:port,..."), CLOUD_PROPERTIES)
"""The Kafka of the federations."""
DATA: Final = (DATA_SERVERS, DATA_PROPERTIES)
"""The Kafka of the data streams."""

API: Final = (
    Variable("MAINSTEM_API", "the backend's address", "http://127.0.0.1:8000"),
    Variable("MAINSTEM_TOKEN_FILE", "a file with the token for it, read anew each time", otherwise="MAINSTEM_TOKEN"),
    Variable("MAINSTEM_TOKEN", "the token itself", otherwise="required without a file"),
)

WITNESS: Final = (
    Variable("MAINSTEM_API", "the backend that is asked what it has witnessed of a log's end", otherwise="nobody"),
    *(Variable(v.name, v.meaning, otherwise="nobody is asked") for v in API[1:]),
)
"""Of who compares a log with its witness."""

LOG_LINES: Final = (
    Variable("MAINSTEM_LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", "INFO"),
    Variable("MAINSTEM_LOG_FORMAT", "text, or json: an object a line", "text"),
    Variable("MAINSTEM_LOG_STREAM", "off: lines go to the file in MAINSTEM_HOME alone", "on"),
    Variable("NO_COLOR", "anything: no colours on a terminal", otherwise="colours on a terminal"),
)
LOGS: Final = (Variable("MAINSTEM_HOME", "a directory for the log file, in logs/", otherwise="no file"), *LOG_LINES)

PLATFORM_PUBLIC: Final = (
    Variable(
        "MAINSTEM_PLATFORM_KEY",
        "the platform's public key: what it has not signed counts for nothing",
        otherwise="the one that a run's opening names, where it names one",
    ),
)
"""Of who reads what the platform writes."""
PLATFORM_SECRET: Final = (
    Variable(
        "MAINSTEM_PLATFORM_KEY_FILE",
        "the file of the platform's private key, with which this process signs what it writes",
        otherwise="it signs nothing",
    ),
)
"""Of who writes in the platform's name."""

METRICS: Final = (
    Variable("MAINSTEM_METRICS_PORT", "port of /metrics, /healthz and /readyz", otherwise="none"),
    Variable("MAINSTEM_METRICS_HOST", "the address to listen on", otherwise="all"),
)
DISK: Final = Variable("MAINSTEM_DISK_FLOOR_BYTES", "room that the disk of MAINSTEM_HOME should keep", "536870912")


def help_text(groups: Groups) -> str:
    """All of them, for a terminal."""
    lines: list[str] = []
    for title, variables in groups.items():
        lines += [f"{title}:"] + [f"  {v.name}\n      {v.meaning} ({_short(v)})" for v in variables] + [""]
    return "\n".join(lines)


def table(groups: Groups) -> str:
    """All of them, as tables of a page."""
    parts: list[str] = []
    for title, variables in groups.items():
        rows = [f"| `{v.name}` | {v.meaning} | {v.unset} |" for v in variables]
        parts += [f"### {title}", "", "| variable | what | when it is not set |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(parts)


def _short(variable: Variable) -> str:
    if variable.default is not None:
        return f"default: {variable.default}"
    return variable.otherwise if variable.otherwise == "required" else f"when not set: {variable.otherwise}"
