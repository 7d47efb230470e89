"""What a web process may be told by variables of its own; Kafka's, the database's and secrets are not among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from mainstem.runtime.fields import said
from mainstem.runtime.settings import from_environ

Positive = Annotated[int, Meta(ge=1, lt=1 << 62)]
Seconds = Annotated[float, Meta(gt=0)]


class Web(Struct, frozen=True):
    """Sizes are bytes, times are seconds."""

    bind: Annotated[str, said("Address", "Where people reach it, as host:port.", variable="MAINSTEM_BIND")] = (
        "0.0.0.0:8000"
    )
    workers: Annotated[Positive, said("Processes", "So many processes answer.", variable="MAINSTEM_WEB_WORKERS")] = 2
    threads: Annotated[
        Positive, said("Threads", "So many requests a process answers at a time.", variable="MAINSTEM_WEB_THREADS")
    ] = 8
    live_streams: Annotated[
        Positive,
        said(
            "Live streams", "So many, one a browser, a process serves beside its requests; each holds a thread.",
            variable="MAINSTEM_LIVE_STREAMS",
        ),
    ] = 64  # fmt: skip
    live_streams_each: Annotated[
        Positive,
        said("Live streams each", "Of these at most so many one person's.", variable="MAINSTEM_LIVE_STREAMS_EACH"),
    ] = 12
    request_seconds: Annotated[
        Seconds,
        said(
            "Patience", "The longest that a request's head, and each 64 KiB of its body, may take.",
            unit="s", variable="MAINSTEM_REQUEST_SECONDS",
        ),
    ] = 20  # fmt: skip
    peer_connections: Annotated[
        Positive,
        said("Connections", "So many one address may have open in a process.", variable="MAINSTEM_PEER_CONNECTIONS"),
    ] = 128
    proxies: Annotated[
        str,
        said(
            "Proxies", "Addresses and networks whose X-Forwarded-For is believed.",
            variable="MAINSTEM_TRUSTED_PROXIES", otherwise="none",
        ),
    ] = ""  # fmt: skip
    hosts: Annotated[
        str,
        said(
            "Names", "Under which names the server answers.",
            variable="MAINSTEM_ALLOWED_HOSTS", otherwise="localhost, and every address that is no name",
        ),
    ] = ""  # fmt: skip
    origins: Annotated[
        str,
        said(
            "Origins", "Addresses that browsers see, where a proxy does not pass them on.",
            variable="MAINSTEM_TRUSTED_ORIGINS", otherwise="none",
        ),
    ] = ""  # fmt: skip
    https: Annotated[
        bool, said("TLS", "Cookies and answers insist on TLS, which a proxy ends.", variable="MAINSTEM_HTTPS")
    ] = False
    debug: Annotated[
        bool, said("Debugging", "Django's pages of errors; never where others come.", variable="MAINSTEM_DEBUG")
    ] = False
    login_failures: Annotated[
        Positive,
        said(
            "Wrong passwords", "So many a name may have from an address in 15 minutes before it must wait.",
            variable="MAINSTEM_LOGIN_FAILURES",
        ),
    ] = 10  # fmt: skip
    step_up_seconds: Annotated[
        Positive,
        said(
            "Password again", "So long after a password was given, what cannot be undone is done without another.",
            unit="s", variable="MAINSTEM_STEP_UP_SECONDS",
        ),
    ] = 600  # fmt: skip
    password_length: Annotated[
        Annotated[int, Meta(ge=8, le=128)],
        said(
            "Shortest password", "A new password has so many characters at least.", variable="MAINSTEM_PASSWORD_LENGTH"
        ),
    ] = 10
    password_common: Annotated[
        bool,
        said("Common passwords", "Allow those of Django's list of 20,000.", variable="MAINSTEM_PASSWORD_COMMON"),
    ] = False
    max_body_bytes: Annotated[
        Positive,
        said(
            "Largest body", "The largest request that is no file, where long ones are taken.",
            unit="bytes", variable="MAINSTEM_MAX_BODY_BYTES",
        ),
    ] = 32 << 20  # fmt: skip
    max_upload_bytes: Annotated[
        Positive,
        said(
            "Largest model", "The largest request with a model's file.",
            unit="bytes", variable="MAINSTEM_MAX_UPLOAD_BYTES",
        ),
    ] = 1 << 30  # fmt: skip
    max_data_bytes: Annotated[
        Positive,
        said(
            "Largest samples", "The largest request with files of samples; scripts inject larger ones.",
            unit="bytes", variable="MAINSTEM_MAX_DATA_BYTES",
        ),
    ] = 64 << 20  # fmt: skip
    workshop_seconds: Annotated[
        Positive,
        said(
            "Workshop",
            "The longest that one request to the workshop may take.",
            unit="s",
            variable="MAINSTEM_WORKSHOP_SECONDS",
        ),
    ] = 120
    workshop_socket: Annotated[
        str,
        said(
            "Workshop's socket", "Unix socket of a workshop in a container beside this one.",
            variable="MAINSTEM_WORKSHOP_SOCKET", otherwise="the workshop is a child of each process",
        ),
    ] = ""  # fmt: skip
    kafka_seconds: Annotated[
        Positive,
        said(
            "Kafka", "So long a request waits for Kafka before it says that Kafka is away.",
            unit="s", variable="MAINSTEM_KAFKA_SECONDS",
        ),
    ] = 10  # fmt: skip


def web(environ: Mapping[str, str] = os.environ) -> Web:
    """As the environment says; raises ConfigError naming the variable."""
    return from_environ(Web, environ)


def words(text: str) -> list[str]:
    """The entries of a list, which are separated by commas or blanks."""
    return text.replace(",", " ").split()


def host_names(text: str) -> list[str]:
    """Host names as Django compares them: IPv6 addresses in brackets."""
    return [f"[{word}]" if word.count(":") > 1 and word[0] != "[" else word for word in words(text)]
