"""`python -m tests.support.client_process`: a light protocol client in a process of its own, to be killed.

Its training is a pure function of (base tensors, its number, base sequence), so that a killed and restarted client
makes the same update again.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mainstem.client.keep import FileKeep, Keep, MemoryKeep
from mainstem.errors import LogError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import read_history
from mainstem.protocol.log import MessageLog
from mainstem.protocol.weights import Tensor
from tests.support.federations import LightClient
from tests.support.lethal import WHENS, LethalLog


def train(tensors: Sequence[Tensor], base_seq: int, number: int, seconds: float) -> list[Tensor]:
    """Noise around the base, the same for the same client and base."""
    time.sleep(seconds)
    random = np.random.default_rng([number, base_seq])
    return [(t + random.normal(0, 0.1, t.shape)).astype(t.dtype) for t in tensors]


def main() -> int:
    """Take part until the run ends; begin anew whenever Kafka fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--federation", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--call", type=int, default=0, help="the call of the log at which it kills itself")
    parser.add_argument("--when", choices=WHENS, default="before")
    parser.add_argument("--state", type=Path, help="where it keeps what its stages leave behind")
    parser.add_argument("--trace", type=Path, help="where each call of the log is told")
    options = parser.parse_args()
    trace = open(options.trace, "w") if options.trace else None  # noqa: SIM115 - until the process ends
    logging.basicConfig(level=logging.INFO)
    memory = MemoryKeep()
    while True:
        log: MessageLog = KafkaLog(client_config(options.bootstrap), timeout=5)
        if trace is not None:
            log = LethalLog(log, options.call, options.when, trace)
        try:
            keep: Keep = memory
            if options.state is not None:
                keep = FileKeep(options.state, read_history(log, options.federation).opened, f"client-{options.number}")
            client = LightClient(
                log,
                options.federation,
                f"client-{options.number}",
                lambda tensors, seq: train(tensors, seq, options.number, options.seconds),
                examples=100 + options.number,
                incarnation=secrets.token_hex(4),
                keep=keep,
            )
            while client.step(0.5):
                pass
            return 0
        except LogError as error:
            logging.warning("%s; beginning anew", error)
            time.sleep(0.2)
        finally:
            log.close()


if __name__ == "__main__":
    sys.exit(main())
