"""One protocol client around a function: a participant without data and without an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mainstem.aggregation.local import GradientHook
from mainstem.client.held import HeldVersion
from mainstem.client.keep import Keep, MemoryKeep, State
from mainstem.client.machine import ClientMachine
from mainstem.client.participant import Assignment, Learner, Measured, Outcome, Participant, SupersededError
from mainstem.client.personal import Site
from mainstem.client.voice import Presence, UpdateClaim, Voice
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.log import MessageLog, Source
from mainstem.protocol.messages import Metrics, Opened
from mainstem.protocol.packing import PACKED_BYTES
from mainstem.protocol.signing import SigningKey
from mainstem.protocol.weights import Tensor

TrainFunction = Callable[[Sequence[Tensor], int], list[Tensor]]
"""(global tensors, base sequence) -> the client's tensors."""


@dataclass
class PoolClient:
    """A client of one federation; whoever reads the control topic tells it of each new head by `follow`.

    An update of up to `packed` bytes is one record. `reader` is the source through which it downloads weights (default:
    `log`); `keep` has what its stages left behind, `held` the version that it has; `site` makes the run's model its
    own. With the `key` of its site it signs what it says. `seen` has, for each version that it trained from or
    evaluated, the wall time in seconds at which it had the tensors.
    """

    log: MessageLog
    federation: str
    client: str
    train: TrainFunction
    examples: int = 1
    incarnation: str = "1"
    packed: int = PACKED_BYTES
    reader: Source | None = None
    keep: Keep = field(default_factory=MemoryKeep)
    held: HeldVersion = field(default_factory=HeldVersion)
    site: Callable[[Opened], Site] = Site
    key: SigningKey | None = None
    gone: bool = False
    uploads: int = 0
    seen: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.voice = self.speaking()
        source = self.reader or self.log
        self._participant = Participant(self.voice, self.learner(), source, keep=self.keep, held=self.held)

    def speaking(self) -> Voice:
        """How it tells its federation what it does."""
        return Voice(self.log, self.federation, self.client, self.incarnation, packed=self.packed, key=self.key)

    def learner(self) -> Learner:
        """Who has its data: a function has none."""
        return _Function(self)

    @property
    def machine(self) -> ClientMachine:
        """Where it stands."""
        return self._participant.machine

    def follow(self, head: Head) -> bool:
        """Do what a new head asks for, to the end; False when the client has left, or another one in its place.

        Raises LogError, ConfigError where the run asks for what it does not know.
        """
        try:
            self._participant.follow(head)
            self.gone = self._participant.gone
        except SupersededError:
            self.gone = True
        return not self.gone


class _Function:
    """A client's function in the place of training. Implements `participant.Learner`."""

    frameworks = None

    def __init__(self, client: PoolClient) -> None:
        self._client = client
        self._model: Sequence[Tensor] = ()
        self._site: Site | None = None

    def presence(self, opened: Opened) -> Presence:
        """See `Learner`."""
        return Presence(self._client.examples)

    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """See `Learner`."""
        self._site = self._site or self._client.site(opened)
        self._model, self._client.seen[version] = self._site.down(tensors, kept), time.time()

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """See `Learner`: a function counts as one step, and what it has no data for has a loss of 1."""
        model, self._model = self._model, ()
        trained = self._client.train(model, assignment.base.seq)
        site = self._site
        assert site is not None
        up = site.up(trained)
        if assignment.hook is not None:
            up = one_step(site.exchange, site.up(model), up, assignment.hook, assignment.rate or 1.0)
        claim = UpdateClaim(self._client.examples, loss=1.0 if assignment.measure else None)
        return Outcome(up, claim, site.staying(trained), site.exchange)

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """See `Learner`: there is nothing to measure."""
        self._model = ()
        return Measured(Metrics(examples=1, values={"loss": 0.0}))

    def now(self, phase: str, base: int | None = None) -> None:
        """See `Learner`: nobody hears its heart beat, but uploads are counted."""
        self._client.uploads += phase == "uploading"


def one_step(
    specs: Exchange, model: Sequence[Tensor], trained: Sequence[Tensor], hook: GradientHook, rate: float
) -> list[Tensor]:
    """What a function made of a model, taken as one step of that rate whose gradient passes the hook."""
    changed = list(trained)
    for place, number in enumerate(specs.trained):
        begin, constant = model[number], hook.constants[place] if hook.constants else 0.0
        more = hook.change(0.0, begin, begin, constant)
        changed[number] = (trained[number] - rate * more).astype(begin.dtype)
    return changed
