"""Ask something of a run, and wait for the aggregator's answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from mainstem.errors import MainstemError
from mainstem.rest import Api

POLL_SECONDS = 0.2
REJECTED = "The last command was rejected: "


class OrderError(MainstemError):
    """The run did not do it; the message says why."""


def carry_out(
    api: Api,
    federation: str,
    action: str,
    body: Mapping[str, Any],
    done: Callable[[Mapping[str, Any]], bool],
    timeout: float,
) -> Any:
    """The deployment as the API shows it once it is `done`; raises OrderError, ApiError. `timeout` is seconds."""
    path = f"deployments/{federation}/"
    api.post(f"{path}{action}/", dict(body))
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        shown = api.get(path)
        if shown["detail"].startswith(REJECTED):
            raise OrderError(shown["detail"].removeprefix(REJECTED))
        if done(shown):
            return shown
        time.sleep(POLL_SECONDS)
    raise OrderError(f"no aggregator has answered within {timeout:g} s; the command stays in the log")
