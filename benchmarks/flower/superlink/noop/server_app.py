"""FedAvg that writes to the file `report` when each round began, had its model, reached all clients, and ended."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    """Notes wall seconds."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.rounds = {}

    def configure_train(self, server_round, arrays, config, grid):
        self.rounds[server_round] = {"begin": time.time()}
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        told = super().aggregate_train(server_round, replies)
        good = sum(not reply.has_error() for reply in replies)
        self.rounds[server_round] |= {"model": time.time(), "updates": good}
        return told

    def aggregate_evaluate(self, server_round, replies):
        replies = list(replies)
        told = super().aggregate_evaluate(server_round, replies)
        seen = max(reply.content["metrics"]["seen"] for reply in replies)
        self.rounds[server_round] |= {"seen": seen, "end": time.time()}
        return told


@app.main()
def main(grid, context):
    """Run the rounds."""
    settings = context.run_config
    clients = settings["clients"]
    count = settings["kilobytes"] * 256 // settings["tensors"]
    model = [np.zeros(count, np.float32) for _ in range(settings["tensors"])]
    strategy = Timed(min_train_nodes=clients, min_evaluate_nodes=clients, min_available_nodes=clients)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(model), num_rounds=settings["rounds"])
    report = Path(settings["report"])
    part = report.with_suffix(".part")
    part.write_text(json.dumps(strategy.rounds))
    part.rename(report)
