"""Flower clients (`start_client`), a thread each, that train nothing or the digits' network.

It runs in Flower's environment.
"""

from __future__ import annotations

import argparse
import json
import resource
import threading
import time

import flwr


class NoOp(flwr.client.NumPyClient):
    """Trains nothing; notes when it has a model (wall seconds)."""

    def __init__(self, seen):
        self.fitted, self.evaluated = seen

    def fit(self, parameters, config):
        self.fitted[config["round"]] = max(time.time(), self.fitted.get(config["round"], 0))
        return parameters, 1, {}

    def evaluate(self, parameters, config):
        self.evaluated[config["round"]] = max(time.time(), self.evaluated.get(config["round"], 0))
        return 0.0, 1, {}


class Digits(NoOp):
    """Trains the digits' network; a client's number and the model's version decide everything."""

    def __init__(self, seen, number):
        super().__init__(seen)
        self.number = number

    def fit(self, parameters, config):
        super().fit(parameters, config)
        from benchmarks import digits_task

        return digits_task.train(parameters, config["round"] - 1, self.number), 1, {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--digits", action="store_true")
    options = parser.parse_args()
    if options.digits:
        from benchmarks import digits_task

        digits_task.prepare()
    seen = [({}, {}) for _ in range(options.count)]  # one a client: no thread writes another's
    cpu = time.process_time()

    def take_part(number):
        client = Digits(seen[number], options.first + number) if options.digits else NoOp(seen[number])
        flwr.client.start_client(
            server_address=options.address,
            client=client.to_client(),
            grpc_max_message_length=1 << 30,
        )

    threads = [threading.Thread(target=take_part, args=(number,)) for number in range(options.count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = [{}, {}]
    for client in seen:
        for kind, times in enumerate(client):
            for number, at in times.items():
                last[kind][number] = max(at, last[kind].get(number, 0))
    print(
        json.dumps(
            {
                "fitted": last[0],
                "evaluated": last[1],
                "cpu_seconds": time.process_time() - cpu,
                "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            }
        )
    )


if __name__ == "__main__":
    main()
