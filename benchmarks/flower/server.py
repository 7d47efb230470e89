"""A Flower server over gRPC (`start_server`) with FedAvg; tells on stdout what it measured.

It runs in Flower's environment. Its pool is as wide as there are clients; the default lets a handful work at a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import flwr
import numpy as np
from flwr.server import ServerConfig, SimpleClientManager
from flwr.server.server import Server
from flwr.server.strategy import FedAvg


class Timed(FedAvg):
    """FedAvg that notes when each round begins, has its model, and ends (wall seconds)."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.rounds, self.last = {}, None

    def configure_fit(self, server_round, parameters, client_manager):
        client_manager.wait_for(self.min_fit_clients)
        self.rounds[server_round] = {"begin": time.time()}
        return super().configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(self, server_round, results, failures):
        told = super().aggregate_fit(server_round, results, failures)
        self.last = told[0]
        self.rounds[server_round] |= {"model": time.time(), "updates": len(results), "end": time.time()}
        return told

    def aggregate_evaluate(self, server_round, results, failures):
        told = super().aggregate_evaluate(server_round, results, failures)
        self.rounds[server_round]["end"] = time.time()
        return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--kilobytes", type=int, required=True)
    parser.add_argument("--tensors", type=int, required=True)
    parser.add_argument("--evaluate", type=int, required=True)
    parser.add_argument("--initial", help="a .npz of the first model, instead of zeros")
    parser.add_argument("--final", help="where to write a .npz of the last model")
    options = parser.parse_args()
    if options.initial:
        with np.load(options.initial) as file:
            model = [file[name] for name in file.files]
    else:
        count = options.kilobytes * 256 // options.tensors
        model = [np.zeros(count, np.float32) for _ in range(options.tensors)]
    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=float(options.evaluate),
        min_fit_clients=options.clients,
        min_evaluate_clients=options.clients if options.evaluate else 0,
        min_available_clients=options.clients,
        initial_parameters=flwr.common.ndarrays_to_parameters(model),
        on_fit_config_fn=lambda number: {"round": number},
        on_evaluate_config_fn=lambda number: {"round": number},
    )
    server = Server(client_manager=SimpleClientManager(), strategy=strategy)
    server.set_max_workers(options.clients)
    cpu = time.process_time()
    flwr.server.start_server(
        server_address=options.address,
        server=server,
        config=ServerConfig(num_rounds=options.rounds),
        grpc_max_message_length=1 << 30,
    )
    if options.final:
        np.savez(options.final, *flwr.common.parameters_to_ndarrays(strategy.last))
    print(
        json.dumps(
            {
                "rounds": strategy.rounds,
                "cpu_seconds": time.process_time() - cpu,
                "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            }
        )
    )


if __name__ == "__main__":
    main()
