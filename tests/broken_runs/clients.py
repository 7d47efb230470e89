"""Runs whose clients are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.broken_runs.case import Run, case
from tests.broken_runs.ground import RAW, Ground, one_hot, records_of, samples


@case(
    "two Jobs of one `FEDERATED_CLIENT_ID`, with 200 and with 320 samples",
    r"ward-7|client id|FEDERATED_CLIENT_ID|another|twice",
)
def one_client_twice(ground: Ground) -> Run:
    federation = ground.federation(rounds=20)
    processes = []
    for number, count in enumerate((200, 320)):
        x, labels = samples(count, seed=number)
        topic = ground.write(records_of(x, one_hot(labels)))
        environ = {
            "PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": "/nonexistent",
            "KML_CLOUD_BOOTSTRAP_SERVERS": ground.kafka, "DATA_TOPIC": f"{topic}:0:0:{count}", "INPUT_FORMAT": "RAW",
            "INPUT_CONFIG": json.dumps(RAW), "FEDERATED_MODEL_ID": federation, "FEDERATED_CLIENT_ID": "ward-7",
        }  # fmt: skip
        command = [sys.executable, "-m", "federated_training"]
        processes.append(subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return Run(federation, processes=processes)
