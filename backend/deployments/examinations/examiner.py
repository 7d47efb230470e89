"""The process that examines one version: reads the log, re-derives the version, measures its updates, prints JSON.

`python -m backend.deployments.examinations.examiner FEDERATION VERSION`. A process of its own, at a low priority, so
that the web workers never do this work; it needs Kafka's variables and nothing of Django.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import asdict

from mainstem.errors import MainstemError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import examine
from mainstem.runtime import endpoints

NICE = 10


def main(federation: str, version: int) -> int:
    """Print `{"proof": ..., "norm": ..., "measures": [...]}`, or `{"error": ...}` and answer 1."""
    os.nice(NICE)
    kafka = endpoints.cloud(os.environ)
    try:
        with closing(KafkaLog(client_config(kafka.servers, kafka.properties))) as log:
            print(json.dumps(asdict(examine(log, federation, version))))
    except MainstemError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
