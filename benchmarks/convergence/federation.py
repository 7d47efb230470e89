"""One run of ours: a real aggregator and real clients over a log in memory, with the NumPy network as what they train.

So a strategy's client half, its weighing, fold and server step, the encodings with their error feedback, and the
records between them are those of any run; only the network, the log and the processes are others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from benchmarks.convergence import task
from benchmarks.federation import last_model
from benchmarks.stats import Run
from mainstem.aggregator.federation import Federation
from mainstem.client.keep import State
from mainstem.client.participant import Assignment, Learner, Measured, Outcome
from mainstem.client.voice import Presence, UpdateClaim
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Opened, Rules, StrategyChoice, Training
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import PoolClient, open_federation
from mainstem.testing.memory_log import MemoryLog

Train = Callable[[Sequence[Tensor], int, Assignment], task.Trained]
"""(the model, the client's number, what is asked of it) -> what it came to."""


@dataclass
class DigitsClient(PoolClient):
    """A client of the swarm with a share of the digits."""

    number: int = 0
    seed: int = 0
    trains: Train | None = None

    def learner(self) -> Learner:
        """Itself in the place of a function."""
        return _Digits(self)


@dataclass
class _Digits:
    """Implements `participant.Learner`."""

    client: DigitsClient
    frameworks: None = None
    model: Sequence[Tensor] = field(default_factory=list)

    def presence(self, opened: Opened) -> Presence:
        """See `Learner`."""
        return Presence(len(task.shares(self.client.seed)[self.client.number]))

    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """See `Learner`."""
        self.model = tensors

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """See `Learner`."""
        assert self.client.trains is not None
        trained = self.client.trains(self.model, self.client.number, assignment)
        loss = trained.loss if assignment.measure else None
        return Outcome(trained.weights, UpdateClaim(trained.examples, steps=trained.steps, loss=loss))

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """See `Learner`: accuracy is told from the versions."""
        return Measured()

    def now(self, phase: str, base: int | None = None) -> None:
        """See `Learner`."""


def in_numpy(seed: int) -> Train:
    """The network of `task`."""

    def train(model: Sequence[Tensor], number: int, asked: Assignment) -> task.Trained:
        hook = asked.hook
        change, constants = (None, ()) if hook is None else (hook.change, hook.constants)
        return task.train(model, seed, number, asked.round, change, constants)

    return train


def in_keras(seed: int) -> Train:
    """The same network, batches and rate in Keras: what NumPy's gradients are checked by."""
    import keras

    network = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(task.HIDDEN, activation="relu"),
            keras.layers.Dense(task.CLASSES, activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.SGD(task.RATE), "sparse_categorical_crossentropy")

    def train(model: Sequence[Tensor], number: int, asked: Assignment) -> task.Trained:
        assert asked.hook is None, "this side is for plain strategies"
        network.set_weights(list(model))
        steps = 0
        for x, y in task.batches(seed, number, asked.round):
            network.train_on_batch(x, y)
            steps += 1
        share = task.shares(seed)[number]
        return task.Trained(network.get_weights(), len(share), steps, task.loss(model, share))

    return train


def run(
    seed: int, strategy: StrategyChoice, rules: Rules, rounds: int, train: Callable[[int], Train] = in_numpy
) -> Run:
    """The test accuracy of each version after the first in percent, in order, and the kilobytes (1000) that an update
    took with all that its client said. Raises ConfigError where the run cannot be."""
    log = MemoryLog(SystemClock())
    limits = replace(rules, rounds=rounds, min_clients=task.CLIENTS, max_clients=task.CLIENTS)
    training = Training(optimizer="sgd", learning_rate=task.RATE, epochs=task.EPOCHS, batch_size=task.BATCH)
    federation = open_federation(log, task.first(seed), limits, strategy, federation="converge", training=training)
    local = train(seed)
    clients = [
        DigitsClient(log, federation, f"site-{n}", lambda tensors, _: list(tensors), number=n, seed=seed, trains=local)
        for n in range(task.CLIENTS)
    ]
    accuracies = [100 * task.accuracy(tensors) for tensors in versions(log, federation, clients)]
    up = nbytes(log, topics.aggregator_topic(federation)) / (rounds * task.CLIENTS)
    return {"accuracies": accuracies, **figures(accuracies), "up": up / 1000}


def figures(accuracies: Sequence[float]) -> Run:
    """What tables tell of a run: the last round's accuracy, and the mean of the last five rounds."""
    return {"last": accuracies[-1], "late": statistics.fmean(accuracies[-5:])}


def nbytes(log: MemoryLog, topic: str) -> int:
    """Of all records' values and headers."""
    total = 0
    for partition in range(log.partitions(topic)):
        for record in log.read(topic, partition, *log.bounds(topic, partition)):
            total += len(record.value or b"") + sum(map(len, record.headers.values()))
    return total


def versions(log: MemoryLog, federation: str, clients: Sequence[PoolClient]) -> Iterator[list[Tensor]]:
    """The model after each round, as readers have it."""
    aggregator, control = Federation(log, federation, clock=SystemClock(), writer="w"), ControlTopic(log, federation)
    version, alive = 0, True
    while alive:
        if any(entry.link for entry in control.sync()):
            head = control.head
            assert head is not None and head.state != "failed", head
            if head.version > version:
                version = head.version
                yield last_model(log, federation)
            for client in clients:
                client.follow(head)
        alive = aggregator.step(0.0)
    aggregator.close()
