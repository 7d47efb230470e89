"""Flower's strategies on the digits, called round by round as its server calls them; tells accuracies as JSON.

It runs in Flower's environment. The clients, their order, seeds and training are `benchmarks.convergence.task`'s.
"""

from __future__ import annotations

import argparse
import json
import logging

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import strategy as shelf

from benchmarks.convergence import task

logging.disable(logging.WARNING)
ADAPTIVE = {"server_learning_rate": "eta", "beta_1": "beta_1", "beta_2": "beta_2", "tau": "tau"}
UNCORRECTED = ", uncorrected"
"""A further FedAdam, whose rate is made such that its correction leaves ours."""
SHELF = {
    "fedavg": (shelf.FedAvg, {}),
    "fedprox": (shelf.FedProx, {"mu": "proximal_mu"}),
    "fedavgm": (
        shelf.FedAvgM,
        {"server_learning_rate": "server_learning_rate", "server_momentum": "server_momentum"},
    ),
    "fedadagrad": (shelf.FedAdagrad, {"server_learning_rate": "eta", "tau": "tau"}),
    "fedadam": (shelf.FedAdam, ADAPTIVE),
    "fedyogi": (shelf.FedYogi, ADAPTIVE),
    "median": (shelf.FedMedian, {}),
    "trimmed_mean": (shelf.FedTrimmedAvg, {}),
    "krum": (shelf.Krum, {"byzantine": "num_malicious_clients"}),
    "multi_krum": (shelf.Krum, {"byzantine": "num_malicious_clients"}),
    "bulyan": (shelf.Bulyan, {"byzantine": "num_malicious_clients"}),
    "qfedavg": (shelf.QFedAvg, {"q": "q_param"}),
}
"""Our name -> Flower's class, and its names for our parameters."""


def made(name, params, seed):
    """The strategy, with the parameters that ours has."""
    kind, names = SHELF[name]
    settings = {names[ours]: value for ours, value in params.items() if ours in names}
    if name == "trimmed_mean":  # a part of the clients, where ours has their number
        settings["beta"] = params["trim"] / task.CLIENTS
    if name == "multi_krum":  # 0 stands for all that are not in the distances' reach
        settings["num_clients_to_keep"] = params["keep"] or task.CLIENTS - params["byzantine"] - 2
    if name == "bulyan":  # its first rule, Krum, takes one
        settings["to_keep"] = 0
    if name == "qfedavg":
        settings |= {"qffl_learning_rate": task.RATE, "evaluate_fn": server_loss}
    return kind(initial_parameters=ndarrays_to_parameters(task.first(seed)), **settings)


def correction(round_, params):
    """What FedAdam multiplies its rate by in a round."""
    return np.sqrt(1 - params["beta_2"] ** (round_ + 1)) / (1 - params["beta_1"] ** (round_ + 1))


def server_loss(round_, weights, config):
    """QFedAvg weighs by one loss, of the server's own evaluation: here on all training images."""
    return task.loss(weights, np.arange(task.TRAINING_IMAGES)), {}


def run(name, params, seed, rounds):
    """The test accuracy after each round."""
    strategy = made(name.removesuffix(UNCORRECTED), params, seed)
    weights, told = task.first(seed), []
    change = None
    if name == "fedprox":  # Flower's FedProx tells its clients mu: what they do with it is theirs

        def change(gradient, weight, begin, constant):
            return gradient + np.float32(params["mu"]) * (weight - begin)

    for round_ in range(1, rounds + 1):
        if name.endswith(UNCORRECTED):
            strategy.eta = params["server_learning_rate"] / correction(round_, params)
        strategy.pre_weights = weights  # what QFedAvg's configure_fit notes
        results = []
        for client in range(task.CLIENTS):
            trained = task.train(weights, seed, client, round_, change)
            parameters = ndarrays_to_parameters(trained.weights)
            results.append((None, FitRes(Status(Code.OK, ""), parameters, trained.examples, {})))
        parameters, _ = strategy.aggregate_fit(round_, results, [])
        weights = parameters_to_ndarrays(parameters)
        told.append(100 * task.accuracy(weights))
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--params", required=True, help="JSON: our name of a strategy -> all its parameters")
    options = parser.parse_args()
    chosen = json.loads(options.params)
    names = [name for name in chosen if name in SHELF]
    runs = {name: run(name, chosen[name], options.seed, options.rounds) for name in names}
    if "fedadam" in runs:
        name = "fedadam" + UNCORRECTED
        runs[name] = run(name, chosen["fedadam"], options.seed, options.rounds)
    print(json.dumps({"accuracies": runs}))


if __name__ == "__main__":
    main()
