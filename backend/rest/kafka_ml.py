"""Kafka-ML's names of REST's fields that are not ours: what each means here. Taken from its backend's serializers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Foreign:
    """A name that Kafka-ML has.

    A value of `idle` asks for nothing (nor does empty text or null) and is taken without a word. Any other value goes
    to our field `ours`, or to the fields that `read` makes of it (it raises ValueError with a sentence), or is refused
    with `here`, which says what does it here.
    """

    ours: str = ""
    read: Callable[[Any], dict[str, Any]] | None = None
    here: str = ""
    idle: tuple[Any, ...] = ()

    def means(self, value: Any) -> dict[str, Any]:
        """Our fields; raises ValueError with a sentence."""
        if value is None or value == "" or value in self.idle:
            return {}
        if self.ours:
            return {self.ours: value}
        if self.read is not None:
            return self.read(value)
        raise ValueError(self.here)


Names = Mapping[str, Foreign]


def _fit(text: Any) -> dict[str, Any]:
    """`epochs=5, shuffle=False` as Kafka-ML hands it to Keras' `fit`."""
    made: dict[str, Any] = {}
    for part in str(text).split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if name == "verbose":
            continue  # what a Job prints is not training
        if name not in ("epochs", "batch_size", "shuffle") or not equals:
            raise ValueError(
                f"{part.strip()[:60]} has no counterpart here; of fit's arguments epochs, batch_size and shuffle have."
            )
        if name in made:
            raise ValueError(f"{name} is given twice.")
        made[name] = value
    return made


_GPU: Final = Foreign(
    here='Here a Job asks for whole GPUs, not for memory of one: give job, such as {"gpus": 1}.', idle=(0, "0")
)
_PYTORCH: Final = Foreign(here="Mainstem trains Keras models; it has no PyTorch: leave it out.")
_ELSEWHERE: Final = Foreign(
    here="Replicas run beside Mainstem, at the brokers of KML_CLOUD_BOOTSTRAP_SERVERS and DATA_BOOTSTRAP_SERVERS; "
    "elsewhere, one is started by hand (docs/inference.md)."
)


def _addressed(deployment: Any) -> dict[str, Any]:
    """A number means nobody in particular, as an announcement's key; text is a federation's id."""
    text = str(deployment)
    return {} if text.isascii() and text.isdigit() and len(text) != 8 else {"federation": text}


MODELS: Final[Names] = {
    "distributed": Foreign(
        here="A model is trained whole here, not in parts at the edge, the fog and the cloud: leave it out.",
        idle=(False,),
    ),
    "father": Foreign(here="A model has no father here, since none is cut into parts: leave it out.", idle=(0,)),
}
CONFIGURATIONS: Final[Names] = {"ml_models": Foreign(ours="models")}
DEPLOYMENTS: Final[Names] = {
    "agg_rounds": Foreign(ours="rounds"),
    "agg_strategy": Foreign(ours="strategy"),
    "batch": Foreign(ours="batch_size"),
    "tf_kwargs_fit": Foreign(read=_fit),
    "tf_kwargs_val": Foreign(
        here="Each client's validation part is evaluated whole, with batch_size: leave it out; how large it is, "
        "validation_rate of its stream says."
    ),
    "pth_kwargs_fit": _PYTORCH,
    "pth_kwargs_val": _PYTORCH,
    "gpumem": _GPU,
    "conf_mat_settings": Foreign(
        here="No confusion matrix is drawn here: name metrics, and ask a version at .../versions/{n}/predict/.",
        idle=(False,),
    ),
    "incremental": Foreign(
        here="Whether a stream grows is said by its announcement, as OnlineFederatedRawSink sends it: leave it out.",
        idle=(False,),
    ),
    "indefinite": Foreign(
        here="A federation trains for as many rounds as it has, with whatever has come by then: give rounds.",
        idle=(False,),
    ),
    "stream_timeout": Foreign(
        here="A round does not wait for records: round_deadline, in seconds, ends it, and wait_limit ends the wait for "
        "clients.",
        idle=(60000,),
    ),
    "monitoring_metric": Foreign(here="No metric decides when training happens here: give metrics, and rounds."),
    "change": Foreign(here="No metric decides when training happens here: give metrics, and rounds."),
    "improvement": Foreign(here="No metric decides when training happens here: give rounds.", idle=(0.05, "0.050000")),
    "unsupervised": Foreign(here="Samples without labels are not trained on here: leave it out.", idle=(False,)),
    "unsupervised_rounds": Foreign(here="Samples without labels are not trained on here: leave it out.", idle=(5,)),
    "confidence": Foreign(here="Samples without labels are not trained on here: leave it out.", idle=(0.9, "0.900000")),
    "blockchain": Foreign(
        here="There is no blockchain: the federation's Kafka topic is the ledger, and `mainstem verify` proves each "
        "version from it: leave it out.",
        idle=(False,),
    ),
}
DATASOURCES: Final[Names] = {
    "deployment": Foreign(read=_addressed),
    "time": Foreign(read=lambda _: {}),  # Kafka's own time of the announcement counts
}
INFERENCES: Final[Names] = {
    "model_result": Foreign(here="A version is named by federation and version: GET /api/results/ lists them."),
    "gpumem": Foreign(here="Replicas have the resources that the launcher gives them: leave it out.", idle=(0, "0")),
    "limit": Foreign(here="Each answer goes to output_topic, however sure it is: leave it out."),
    "output_upper": Foreign(here="There is no upper layer: each answer goes to output_topic."),
    "token": _ELSEWHERE,
    "external_host": _ELSEWHERE,
    "input_kafka_broker": _ELSEWHERE,
    "output_kafka_broker": _ELSEWHERE,
    "upper_kafka_broker": _ELSEWHERE,
}
