"""Clients of ours that train the digits' network; one JSON object at their end, as `mainstem clients --json` tells."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from functools import partial

from benchmarks import digits_task
from mainstem.cli.clients import summary
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.swarm import Pool


def main() -> int:
    """Take part from the first round to the last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--federation", required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    digits_task.prepare()
    cpu = time.process_time()
    log = KafkaLog(client_config(os.environ["KML_CLOUD_BOOTSTRAP_SERVERS"]))
    numbers = range(options.first, options.first + options.count)
    trains = [partial(digits_task.train, client=number) for number in numbers]
    pool = Pool(log, options.federation, trains, apart=log.own_reader, first=options.first)
    pool.run(threading.Event())
    log.close()
    used = {
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }
    print(json.dumps(summary(pool) | used))
    return 0


if __name__ == "__main__":
    sys.exit(main())
