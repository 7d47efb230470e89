"""The Node client as processes beside the real broker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from tests.interop.environment import NodeError, command, missing, modules

Node = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]
"""(program, *arguments) -> its process, killed at the end if need be."""


@pytest.fixture
def log(kafka: EmbeddedKafka) -> Iterator[KafkaLog]:
    """A message log of the shared real broker."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    yield log
    log.close()


@pytest.fixture(scope="session")
def node() -> Node:
    """Starts programs of `tests/interop/node`."""
    if (program := missing()) is not None:
        pytest.skip(f"{program} is not on the PATH")
    try:
        environ = {"PATH": os.environ["PATH"], "NODE_PATH": str(modules())}
    except NodeError as error:
        pytest.fail(str(error))

    @contextmanager
    def start(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            command(program, *arguments), env=environ, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    return start
