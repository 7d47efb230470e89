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

import numpy as np

from mainstem.errors import LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.log import KafkaLog
from mainstem.weights import Tensor
from tests.support.federations import LightClient


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
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    while True:
        log = KafkaLog(client_config(options.bootstrap), timeout=5)
        client = LightClient(
            log,
            options.federation,
            f"client-{options.number}",
            lambda tensors, seq: train(tensors, seq, options.number, options.seconds),
            examples=100 + options.number,
            incarnation=secrets.token_hex(4),
        )
        try:
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
