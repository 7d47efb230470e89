"""Run many real protocol clients in this one process, with a function in the place of training.

They join, download, upload and leave as training Jobs do, through the same state machine. Each downloads through a
reader of its own; with --readers shared the process downloads once for all: use that for 1,000 clients. They sign with
the site's key in MAINSTEM_SITE_KEY_FILE, where that is set.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from typing import Any

from mainstem.cli.output import Output
from mainstem.cli.where import kafka_config
from mainstem.errors import ConfigError
from mainstem.kafka.client.log import KafkaLog
from mainstem.platform.home import Home
from mainstem.protocol.signing import SITE_KEY_FILE, SigningKey
from mainstem.protocol.topics import check_client_id, check_federation_id
from mainstem.runtime.memory import use_one_heap
from mainstem.runtime.program import stopping
from mainstem.swarm import TRAININGS, Pool, make

LEAVING = "leaving as soon as what is under way has ended; Ctrl-C again ends at once"

HELP = "run many light protocol clients in one process"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--federation", required=True, metavar="ID", help="the federation that they join")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--train", choices=sorted(TRAININGS), default="noise", help="in place of training")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long training takes (default: %(default)s)")
    parser.add_argument("--readers", choices=("own", "shared"), default="own", help="readers of the weights")
    parser.add_argument("--threads", type=int, default=100, help="clients at work at one time (default: %(default)s)")
    parser.add_argument("--prefix", default="client-", help="names begin with it (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first client (default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Take part until the run ends or this is interrupted."""
    if options.count < 1 or options.threads < 1:
        raise ConfigError("--count and --threads must be at least 1")
    check_client_id(f"{options.prefix}{options.first + options.count}")
    use_one_heap()
    log = KafkaLog(kafka_config(home))
    try:
        pool = Pool(
            log,
            check_federation_id(options.federation),
            [make(options.train, options.first + n, options.seconds) for n in range(options.count)],
            apart=log.own_reader if options.readers == "own" else None,
            prefix=options.prefix,
            first=options.first,
            threads=options.threads,
            key=SigningKey.from_environ(os.environ, SITE_KEY_FILE),
        )
        began, cpu = time.monotonic(), time.process_time()
        with stopping(lambda: output.say(LEAVING)) as leave:
            pool.run(leave)
        told = summary(pool) | {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        }
    finally:
        log.close()
    if options.json:
        output.result(told)
    else:
        output.say(f"{told['clients']} clients sent {told['updates']} updates in {told['seconds']:g} s")
    return 0


def summary(pool: Pool) -> dict[str, Any]:
    """What the clients did; `seen` has, by version, the wall time at which the last of them had downloaded it."""
    seen: dict[int, float] = {}
    for client in pool.clients:
        for version, at in client.seen.items():
            seen[version] = max(at, seen.get(version, 0.0))
    return {
        "clients": len(pool.clients),
        "left": sum(client.gone for client in pool.clients),
        "updates": sum(client.uploads for client in pool.clients),
        "seen": {str(version): at for version, at in sorted(seen.items())},
    }
