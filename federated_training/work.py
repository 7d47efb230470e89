"""What a Job keeps while connections come and go: its engine, its data, and its last round's outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from federated_training.config import Settings
from federated_training.dataset import Array, Dataset, Part, Place, split, split_by_place
from federated_training.decoders import Decoder, Target, check_data
from federated_training.engine import Engine, Trained
from federated_training.stream import Stream, await_topics
from mainstem.client import Evaluate, Train
from mainstem.codecs import codec_for
from mainstem.errors import ConfigError, UnreadableError
from mainstem.messages import Base, Metrics, Opened
from mainstem.ports import MessageLog, Streams
from mainstem.streams import exact

log = logging.getLogger(__name__)

Connect = Callable[[], MessageLog]
ConnectData = Callable[[], Streams]
MakeEngine = Callable[[Connect, Opened], Engine]


class Work:
    """Prepares itself once, then trains and evaluates. Every method may raise MainstemError."""

    def __init__(self, settings: Settings, connect_data: ConnectData, make_engine: MakeEngine) -> None:
        self.connection: MessageLog | None = None
        """The present connection to the federation's Kafka."""
        self._settings, self._connect_data, self._make_engine = settings, connect_data, make_engine
        self._engine: Engine | None = None
        self._stream: Stream | None = None
        self._source: Streams | None = None
        self._data: Dataset | None = None
        self._held_out: Part | None = None
        self.note = ""
        """What people should know of the data: the records that are left out, and why."""
        self._done: tuple[Train, Trained, Metrics | None] | None = None
        self._state: tuple[str, int | None, float] = ("waiting", None, 0.0)

    # ------------------------------------------------------------ once
    @property
    def prepared(self) -> bool:
        """Whether engine and data are there."""
        return self._data is not None

    def prepare(self, opened: Opened) -> Dataset:
        """Build the engine and read the data, unless that is done; misfits show before anything is loaded."""
        if self._data is None:
            spec = self._settings.spec
            check_data(codec_for(spec.input_format, spec.input_config), opened.input)
            if spec.unsupervised_topic:
                log.warning(
                    "UNSUPERVISED_TOPIC %s is refused: samples without labels cannot train this model; "
                    "it trains on DATA_TOPIC's alone",
                    spec.unsupervised_topic,
                )
            if self._engine is None:
                self._engine = self._make_engine(self._connected, opened)
            engine = self._engine
            target = Target.of(opened.training.loss, engine.output_shape)
            decoder = Decoder(spec, opened.input, target, sample_dtype=engine.sample_dtype, unfit=engine.unfit)
            self._take(self._read(decoder, opened))
        assert self._data is not None
        return self._data

    def _connected(self) -> MessageLog:
        assert self.connection is not None
        return self.connection

    def _read(self, decoder: Decoder, opened: Opened) -> Dataset:
        spec, patience = self._settings.spec, self._settings.patience
        self.close()
        self._source = self._connect_data()
        await_topics(self._source, spec, patience)
        stream = Stream(self._source, spec, decoder)
        try:
            x, y = stream.open(at_least=opened.data.min_data, patience=patience)
        except UnreadableError as error:
            raise ConfigError(f"DATA_TOPIC {spec.data_topic} cannot be read any more: {error}") from error
        if spec.grows:
            self._stream = stream
        else:
            self.close()
            if stream.records < opened.data.min_data:
                raise ConfigError(
                    f"DATA_TOPIC has {stream.records} records; the federation asks for at least {opened.data.min_data}"
                )
        self.note = stream.left_out.sentence(stream.records)
        data = self._first_split(stream, x, y, opened)
        log.info(
            "read %d records (%d left out): %d samples to train on, %d to validate, %d to test",
            stream.records, stream.left_out.count, len(data.training), len(data.validation), len(data.test),
        )  # fmt: skip
        return data

    def _first_split(self, stream: Stream, x: Array, y: Array, opened: Opened) -> Dataset:
        """A growing stream that has no sample to train on yet is waited for: the next ones may be for training."""
        deadline = time.monotonic() + self._settings.patience
        while True:
            try:
                return self._split(x, y, stream.places, opened)
            except ConfigError:
                if not self._settings.spec.grows or time.monotonic() > deadline:
                    raise
            x, y = stream.grow(stream.records + 1, max(0.0, deadline - time.monotonic()))

    def _split(self, x: Array, y: Array, places: Sequence[Place], opened: Opened) -> Dataset:
        """What a later start may find grown is divided by place, so that no sample ever changes its part."""
        spec, seed = self._settings.spec, opened.training.seed
        if exact(spec.ranges):
            return split(x, y, places, validation_rate=spec.validation_rate, test_rate=spec.test_rate, seed=seed)
        return split_by_place(x, y, places, validation_rate=spec.validation_rate, test_rate=spec.test_rate, seed=seed)

    def _take(self, data: Dataset) -> None:
        self._data, self._held_out = data, data.held_out

    # ------------------------------------------------------------ rounds
    def train(self, opened: Opened, effect: Train) -> None:
        """Evaluate the received model and train from it; `outcome` has what came of it."""
        self.prepare(opened)
        if self._done is not None and self._done[0] == effect:
            return  # trained before Kafka failed: it would come out the same
        self._done = None
        if self._stream is not None and (grown := self._stream.refresh()) is not None:
            self._take(self._split(*grown, self._stream.places, opened))
            log.info("the stream has grown to %d samples", len(grown[0]))
        engine, data, held_out = self._ready()
        self.now("evaluating", effect.base.seq)
        engine.receive(effect.weights)
        evaluation = engine.evaluate(held_out)
        self.now("training", effect.base.seq)
        trained = engine.train(data, effect.base.seq, self._progress)
        self._done = (effect, trained, evaluation)
        measured = shown(trained.training)
        log.info("trained from version %d in %.1f s: %s", effect.base.version, trained.seconds, measured)

    def outcome(self, base: Base) -> tuple[Trained, Metrics | None]:
        """What `train` made of `base`, and the evaluation of the model that it began with."""
        assert self._done is not None and self._done[0].base == base
        return self._done[1], self._done[2]

    def evaluate(self, opened: Opened, effect: Evaluate) -> Metrics | None:
        """Measure the final model on what no weight has learned from."""
        self.prepare(opened)
        engine, _, held_out = self._ready()
        self.now("evaluating")
        engine.receive(effect.weights)
        evaluation = engine.evaluate(held_out)
        log.info("the final model is version %d: %s", effect.version, shown(evaluation))
        return evaluation

    def _ready(self) -> tuple[Engine, Dataset, Part]:
        assert self._engine is not None and self._data is not None and self._held_out is not None
        return self._engine, self._data, self._held_out

    # ------------------------------------------------------------ what heartbeats say
    def now(self, phase: str, base: int | None = None) -> None:
        """From here on: waiting, training, uploading or evaluating, from the record `base`."""
        self._state = (phase, base, 0.0)

    def state(self) -> tuple[str, int | None, float]:
        """(phase, base, progress)."""
        return self._state

    def _progress(self, share: float) -> None:
        self._state = (*self._state[:2], share)

    def close(self) -> None:
        """Let the stream's connection go."""
        if self._source is not None:
            self._source.close()
            self._source = None


def shown(metrics: Metrics | None) -> str:
    """Metrics as a person reads them."""
    if metrics is None:
        return "there are no samples to measure it on"
    values = [f"{name} {value:.4f}" for name, value in metrics.values.items()]
    return ", ".join([*values, *(f"{name} undefined" for name in metrics.undefined)])
