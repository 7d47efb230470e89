"""One client of one federation: drives the client's machine, for a training Job and for each client of a swarm alike.

    head -> download -> learner.load, learner.train -> pipeline -> voice.update

Whoever follows the control topic tells it of each new head. Where the data are, and how a model is trained, is the
learner's; how long to go on after an error is the caller's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec
import numpy as np

from mainstem.aggregation import strategies
from mainstem.aggregation.local import GradientHook, LocalStart
from mainstem.client.encoding import error_of
from mainstem.client.held import HeldVersion
from mainstem.client.keep import Keep, Kept, MemoryKeep, State
from mainstem.client.machine import (
    ClientMachine,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    HeadFollowed,
    Join,
    Leave,
    Train,
    Trained,
    UpdateUpload,
    Uploaded,
    superseded,
)
from mainstem.client.own import OwnUpdates
from mainstem.client.pipeline import STAGES, Make, Origin, Stage, compose, unknown
from mainstem.client.voice import Presence, UpdateClaim, Voice
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import rate_of
from mainstem.protocol import updates
from mainstem.protocol.chain import Head
from mainstem.protocol.chunks import Limits
from mainstem.protocol.exchange import DOWN, Exchange, exchange
from mainstem.protocol.log import Source
from mainstem.protocol.messages import Base, Metrics, Opened, Report, TensorSpec, Weights
from mainstem.protocol.weights import Tensor, payload_bytes
from mainstem.runtime.driver import drive

log = logging.getLogger(__name__)


class SupersededError(ConfigError):
    """This process no longer speaks for its client."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One training: the record that it starts from, the round that it is for, and how.

    `rate` is the round's learning rate; None: the optimizer's own. Every gradient passes the `hook` where there is one.
    `measure`: what the loaded model's loss is on all that it trains on belongs to the outcome.
    """

    base: Base
    round: int
    rate: float | None = None
    hook: GradientHook | None = None
    measure: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training came to, and what the client says of it. `kept` is for the next one, and goes to nobody. `sent` is
    what goes up, where that is not all of the run's exchange."""

    tensors: Sequence[Tensor]
    claim: UpdateClaim
    kept: State = field(default_factory=dict)
    sent: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client found of the final version, and of its own model; None where there is nothing to measure."""

    evaluation: Metrics | None = None
    personal: Metrics | None = None


class Learner(Protocol):
    """Whoever has a client's data. Every method may raise MainstemError."""

    @property
    def frameworks(self) -> Collection[str] | None:
        """Whose models it trains; None: it takes any tensors."""
        ...

    def presence(self, opened: Opened) -> Presence:
        """What to say of its data as they are now; asked again after each training."""
        ...

    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """Take this version of the model, with what was kept at the last training."""
        ...

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """Train from the model that was loaded."""
        ...

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """Measure what was loaded, which is the final version."""
        ...

    def now(self, phase: str, base: int | None = None) -> None:
        """From here on it is waiting or uploading, for those whom heartbeats tell."""
        ...


@dataclass(frozen=True, slots=True)
class LocalResult:
    """A training that is done, and what is to become of it: its stages begin with what was kept, `began`. `carried` are
    the groups that its update has beside the model."""

    effect: Train
    outcome: Outcome
    carried: Mapping[str, Sequence[Tensor]]
    stage: Stage
    began: Kept


@dataclass
class ClientMemory:
    """What a client remembers while connections come and go: its last training, what its stages left behind, and the
    version that it has."""

    finished: LocalResult | None = None
    held: HeldVersion = field(default_factory=HeldVersion)
    keep: Keep = field(default_factory=MemoryKeep)


class Participant:
    """A client with one connection. An error of the log ends it; another one goes on from the log.

    `source` is whence it downloads models. A `memory` that outlives it spares the next one a training that was done;
    without one, nothing of a training is held once it is published. Where `keep` is not the memory's, it outlives the
    process; where `held` is not, other clients of the process share it. `newest` gives the newest head that came
    meanwhile, if any, when a training is done. `stages` are the pipeline's (`pipeline.STAGES`).
    """

    def __init__(
        self,
        voice: Voice,
        learner: Learner,
        source: Source,
        *,
        memory: ClientMemory | None = None,
        keep: Keep | None = None,
        held: HeldVersion | None = None,
        newest: Callable[[], Head | None] = lambda: None,
        stages: Sequence[Make] = STAGES,
    ) -> None:
        self.machine = ClientMachine(voice.client)
        self.voice = voice
        self._learner, self._source, self._newest, self._makes = learner, source, newest, stages
        self._memory, self._remembers = memory or ClientMemory(), memory is not None
        self._keep, self._held = keep or self._memory.keep, held or self._memory.held
        self._presence: Presence | None = None
        self._measured = Measured()
        self._unsent: Base | None = None
        self._own: OwnUpdates | None = None
        self._specs = Exchange(())
        self._strategy: strategies.Strategy | None = None

    @property
    def gone(self) -> bool:
        """Whether it has left."""
        return self.machine.phase == "gone"

    def follow(self, head: Head) -> None:
        """Do what a new head asks for, to the end.

        Raises SupersededError, ConfigError where the run asks for what this release does not know, what the learner
        raises, LogError, RefusedError.
        """
        if self.machine.head is None and (told := unknown(head, self._learner.frameworks)):
            raise ConfigError(
                f"federation {head.opened.federation} asks for what this client does not know: {'; '.join(told)}. "
                "Take part with the release of Mainstem that opened it, or open a federation without that"
            )
        if not self._specs.model:
            chosen = head.opened.strategy
            self._specs, self._strategy = exchange(head.opened), strategies.make(chosen.name, chosen.params)
        drive(self.machine, self._followed(head), self._act)

    def _followed(self, head: Head) -> Event:
        why = None if head.ended else superseded(head, self.voice.client, self.voice.incarnation)
        if why:
            raise SupersededError(why)
        return HeadFollowed(head)

    def _act(self, effect: Effect) -> list[Event]:
        head = self.machine.head
        assert head is not None
        opened = head.opened
        if self._unsent is not None and not isinstance(effect, UpdateUpload):
            log.info("the round closed before %s was done; its update is not sent", self.voice.client)
        self._unsent = None
        match effect:
            case Join():
                self._present(opened)
                log.info("joined as %s", self.voice.client)
            case Train():
                self._train(head, effect)
                self._present(opened)
                self._learner.now("waiting")
                self._unsent = effect.base
                # The round may have closed meanwhile: the machine must know before it decides.
                newest = self._newest()
                return [*([self._followed(newest)] if newest is not None else []), Trained(effect.base)]
            case UpdateUpload():
                self._upload(effect)
                self._learner.now("waiting")
                return [Uploaded(effect.base)]
            case Evaluate():
                kept = self._keep.before(head.base.seq, self._counted()).state
                self._learner.load(opened, self._download(head, effect.version), effect.version, kept)
                self._measured = self._learner.evaluate(opened, effect.version)
                return [Evaluated(effect.version)]
            case Leave():
                self.voice.left(effect.version, self._measured.evaluation, self._measured.personal)
                log.info("leaving: %s", effect.why)
        return []

    def _present(self, opened: Opened) -> None:
        """Join, or join again where the data have grown."""
        presence = self._learner.presence(opened)
        if presence != self._presence:
            self.voice.joined(presence)
            self._presence = presence

    def _train(self, head: Head, effect: Train) -> None:
        memory, opened = self._memory, head.opened
        if memory.finished is not None and memory.finished.effect == effect:
            return  # trained before Kafka failed: it would come out the same
        memory.finished = None
        began, specs = self._began(effect, opened), self._specs
        model = self._download(head, effect.base.version)
        strategy = self._strategy
        assert strategy is not None
        stage = compose(self._makes, Origin(opened, specs, self.voice.client, effect.base, model))
        start = self._start(head, model) if strategy.asks.remembers else LocalStart(_rate(head))
        self._learner.load(opened, model, effect.base.version, began.state)
        del model  # while it trains, only stages, and a strategy that asks for it, may hold it
        hook, measure = strategy.asks.hook(start), strategy.weighs.by_loss
        assignment = Assignment(effect.base, head.round + 1, start.rate, hook, measure)
        outcome = self._learner.train(opened, assignment)
        trained = [outcome.tensors[number] for number in specs.trained]
        carried = strategy.asks.carried(start, trained, outcome.claim.steps)
        memory.finished = LocalResult(effect, outcome, carried, stage, began)

    def _began(self, effect: Train, opened: Opened) -> Kept:
        """What was kept at the last training, with which this one begins."""
        counted = self._counted()
        began = self._keep.before(effect.base.seq, counted)
        if began.seq is None and counted is not None and (opened.personal or opened.adaptation.ditto):
            log.warning(
                "nothing is left of what %s kept between rounds: it begins anew. Name a directory that outlives this "
                "process in FEDERATED_STATE",
                self.voice.client,
            )
        return began

    def _start(self, head: Head, model: Sequence[Tensor]) -> LocalStart:
        """Where the round begins: with what was published beside the model, and what this client's updates carried."""
        opened, published, specs = head.opened, head.groups, self._specs
        down = {
            group.name: self._published(opened, published[group.name], group.tensors)
            if group.name in published
            else [np.zeros(spec.shape, spec.dtype) for spec in group.tensors]
            for group in specs.state
            if group.direction == DOWN
        }
        self._own = self._own or OwnUpdates(self.voice.log, opened, self.voice.client)
        return LocalStart(_rate(head), [model[n] for n in specs.trained], down, self._own.sums(head))

    def _published(self, opened: Opened, weights: Weights, specs: Sequence[TensorSpec]) -> list[Tensor]:
        """A group that was published with a version."""
        limits = Limits(nbytes=payload_bytes(specs), tensors=len(specs))
        return updates.read(self._source, opened.topics.data, weights, specs, limits=limits, written=True)

    def _counted(self) -> int | None:
        """The newest base from which an update of this client counts, as the head's snapshot says."""
        assert self.machine.head is not None
        snapshot = self.machine.head.snapshot
        member = next((member for member in snapshot.members if member.client == self.voice.client), None)
        return snapshot.forgotten if member is None else member.counted

    def _download(self, head: Head, version: int) -> list[Tensor]:
        """A version's tensors, from the one that it has where versions travel as changes."""
        opened, specs, way = head.opened, self._specs, head.way(version)
        assert way is not None
        limits = Limits(nbytes=opened.weights.nbytes, tensors=len(specs.model))
        return self._held.read(self._source, opened.topics.data, way, specs, limits)

    def _upload(self, effect: UpdateUpload) -> None:
        finished = self._memory.finished
        assert finished is not None and finished.effect.base == effect.base
        self._learner.now("uploading", effect.base.seq)
        outcome, seq = finished.outcome, effect.base.seq
        specs = outcome.sent or self._specs
        tensors, state = finished.stage(outcome.tensors, {**finished.began.state, **outcome.kept})
        self._keep.put(seq, state, finished.began)
        claim, error = outcome.claim, error_of(state)
        carried = tensors if specs.encoding is not None else [tensors[number] for number in specs.carried]
        if error is not None:
            report = msgspec.structs.replace(claim.report or Report(), encoding_error=error)
            claim = replace(claim, report=report)
        self.voice.update(effect.base, effect.number, specs, carried, claim, finished.carried)
        self._keep.confirm(seq)
        if not self._remembers:
            self._memory.finished = None


def _rate(head: Head) -> float | None:
    """The learning rate of the round that the head has open; None: the optimizer's own."""
    return rate_of(head.opened.training, head.round + 1, head.opened.rules.rounds)
