"""What a Job brings to its federation while connections come and go: its engine and its data."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from federated_training.data.dataset import Array, Dataset, LabelledSamples, Place, label_counts, split, split_by_place
from federated_training.data.decoders import Decoder, check_data
from federated_training.data.stream import Stream, await_topics
from federated_training.engines.engine import Engine, LocalModel
from federated_training.engines.kinds import FRAMEWORKS
from federated_training.job.config import Settings
from federated_training.job.ditto import DITTO, Ditto
from mainstem.client.keep import State
from mainstem.client.participant import Assignment, Measured, Outcome
from mainstem.client.personal import Site
from mainstem.client.voice import Presence, UpdateClaim
from mainstem.errors import ConfigError, UnreadableError
from mainstem.protocol.log import Streams
from mainstem.protocol.messages import Metrics, Opened, Report
from mainstem.protocol.weights import Tensor
from mainstem.streams.announcement import exact
from mainstem.streams.codecs import codec_for

log = logging.getLogger(__name__)

SOFTWARE: Final = "mainstem federated_training"
"""What the `joined` record calls this program."""

ConnectData = Callable[[], Streams]
MakeEngine = Callable[[Opened], Engine]
MakeLocal = Callable[[Opened], LocalModel | None]
"""The site's own model, if it has another than the run's."""


class Work:
    """Prepares itself once, then trains and evaluates. Implements `participant.Learner`."""

    frameworks = FRAMEWORKS

    def __init__(
        self, settings: Settings, connect_data: ConnectData, make_engine: MakeEngine, make_local: MakeLocal
    ) -> None:
        self._settings, self._connect_data, self._make_engine = settings, connect_data, make_engine
        self._make_local = make_local
        self._local: LocalModel | None = None
        self._site: Site | None = None
        self._engine: Engine | None = None
        self._stream: Stream | None = None
        self._source: Streams | None = None
        self._data: Dataset | None = None
        self._held_out: LabelledSamples | None = None
        self._ditto: Ditto | None = None
        self._version: Sequence[Tensor] = ()
        self._kept: State = {}
        self._note = ""
        self._presence: Presence | None = None
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
            own = self._own(opened)
            check_data(codec_for(spec.input_format, spec.input_config), own.input)
            if spec.unsupervised_topic:
                log.warning(
                    "UNSUPERVISED_TOPIC %s is refused: samples without labels cannot train this model; "
                    "it trains on DATA_TOPIC's alone",
                    spec.unsupervised_topic,
                )
            if self._engine is None:
                self._engine = self._engine_of(opened)
            engine = self._engine
            decoder = Decoder(spec, own.input, sample_dtype=engine.sample_dtype, unfit=engine.unfit)
            self._take(self._read(decoder, opened))
        assert self._data is not None
        return self._data

    def presence(self, opened: Opened) -> Presence:
        """See `Learner`."""
        data = self.prepare(opened).training
        if self._presence is None:
            # how labels are spread leaves the site only where the federation chooses by it
            labels = label_counts(data.y) if opened.rules.selection.name == "label_coverage" else {}
            note = " ".join(filter(None, (self._at(opened).note, self._note)))
            self._presence = Presence(len(data), SOFTWARE, labels, self._settings.spec.grows, note)
        return self._presence

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
        self._note = stream.left_out.sentence(stream.records)
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
        self._data, self._held_out, self._presence = data, data.held_out, None

    # ------------------------------------------------------------ rounds
    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """See `Learner`."""
        self.prepare(opened)
        self._version, self._kept = tensors, kept

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """See `Learner`: evaluates the model that came, then trains from it, on all of its stream that is there now."""
        if self._stream is not None and (grown := self._stream.refresh()) is not None:
            self._take(self._split(*grown, self._stream.places, opened))
            log.info("the stream has grown to %d samples", len(grown[0]))
        engine, data, held_out = self._ready()
        site, base = self._at(opened), assignment.base
        self.now("evaluating", base.seq)
        measured = self._measure(opened, engine, held_out)
        before = engine.evaluate(data.training, weighted=True) if assignment.measure else None
        self.now("training", base.seq)
        trained = engine.train(data, base.seq, self._progress, assignment.hook, assignment.rate)
        log.info("trained from version %d in %.1f s: %s", base.version, trained.seconds, shown(trained.training))
        kept, seconds = site.staying(trained.tensors), trained.seconds
        if self._ditto is not None:
            own = self._ditto.train(data, base.seq, self._progress, assignment.rate)
            kept, seconds = {**kept, DITTO: own.tensors}, seconds + own.seconds
            log.info("trained the site's own model in %.1f s: %s", own.seconds, shown(own.training))
        self._version, self._kept = (), {}
        report = Report(
            training=trained.training,
            validation=trained.validation,
            evaluation=measured.evaluation,
            personal=measured.personal,
            train_seconds=round(seconds, 3),
        )
        loss = before.values["loss"] if before is not None else None
        claim = UpdateClaim(trained.training.examples, report, trained.steps, loss)
        return Outcome(site.up(trained.tensors), claim, kept, site.exchange)

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """See `Learner`: on what no weight has learned from."""
        engine, _, held_out = self._ready()
        self.now("evaluating")
        measured = self._measure(opened, engine, held_out)
        alone = "this site has another model, and measures that one alone"
        told = shown(measured.evaluation) if self._at(opened).whole else alone
        log.info("the final model is version %d: %s", version, told)
        if measured.personal is not None:
            log.info("the site's own model: %s", shown(measured.personal))
        return measured

    def _measure(self, opened: Opened, engine: Engine, part: LabelledSamples) -> Measured:
        """Of the version as it was committed, and of what the site has of its own; that is loaded afterwards."""
        site = self._at(opened)
        evaluation = personal = None
        if site.whole:
            engine.load(self._version)
            evaluation = engine.evaluate(part)
        mine = site.down(self._version, self._kept)
        if site.keeps or not site.whole:
            engine.load(mine)
            personal = engine.evaluate(part)
        if opened.adaptation.ditto is not None:
            self._ditto = self._ditto or Ditto(self._engine_of(opened, own=True), opened.adaptation.ditto)
            self._ditto.begin(mine, self._kept)
            personal = self._ditto.evaluate(part)
        self._version = ()
        return Measured(evaluation, personal)

    # ------------------------------------------------------------ the site's own model
    def _at(self, opened: Opened) -> Site:
        """The run at this site; raises ConfigError where its model cannot take part."""
        if self._site is None:
            self._local = self._make_local(opened)
            local = self._local
            self._site = Site(opened) if local is None else Site(opened, local.specs, local.architecture, local.tensors)
        return self._site

    def _engine_of(self, opened: Opened, own: bool = False) -> Engine:
        """An engine with the model that the site trains; `own`: all of its floats as those of a run."""
        opened = self._own(opened)
        if self._local is not None or own:
            opened = msgspec.structs.replace(opened, personal=(), untrained=(), frozen=())
        return self._make_engine(opened)

    def _own(self, opened: Opened) -> Opened:
        """The run as the site has it: its own model in the federation's place, if it has another."""
        self._at(opened)
        local = self._local
        if local is None:
            return opened
        return msgspec.structs.replace(
            opened, tensors=tuple(local.specs), architecture=local.architecture, input=local.input
        )

    def _ready(self) -> tuple[Engine, Dataset, LabelledSamples]:
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
