"""Brings the replicas of deployed versions in line with what is wanted. Its memory is the database and the fleet."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from backend.deployments.models import State
from backend.inference.models import Inference, ServingState
from backend.launchers.options import Options
from backend.launchers.replicas import Fleet, FleetStanding
from mainstem.errors import MainstemError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.exchange_group import forget_group
from mainstem.protocol.log import MessageLog
from mainstem.protocol.topics import stream_spec
from mainstem.runtime import logs
from mainstem.serving.spec import ServingSpec

log = logging.getLogger(__name__)


def serving_spec(inference: Inference, options: Options) -> ServingSpec:
    """What a replica is told; `options` say where the two Kafkas are."""
    return ServingSpec(
        name=inference.name,
        cloud_bootstrap=options.cloud_bootstrap,
        data_bootstrap=options.data_bootstrap,
        federation=inference.federation,
        version=inference.version,
        input_topic=inference.input_topic,
        output_topic=inference.output_topic,
        input_format=inference.input_format,
        input_config=json.dumps(inference.input_config),
        sha256=inference.sha256,
        cloud_client_config=options.cloud_client_config,
        data_client_config=options.data_client_config,
        answers=inference.answers,
        delivery=inference.delivery,
    )


class ServingReconciler:
    """One step at a time. Not for several threads."""

    def __init__(
        self,
        fleet: Fleet,
        options: Options,
        streams: Callable[[], MessageLog],
        forget: Callable[[str], None] | None = None,
    ) -> None:
        """`streams` is the Kafka of the topics; `forget` deletes a consumer group there."""
        self._fleet, self._options, self._streams = fleet, options, streams
        self._forget = forget or self._forget_group

    def tick(self) -> None:
        """Look at every deployed version and take its next step."""
        rows = list(Inference.objects.select_related("deployment").order_by("id"))
        self._fleet.refresh()
        for inference in rows:
            with logs.bind(federation=inference.federation):
                try:
                    self._step(inference)
                except (MainstemError, OSError) as error:  # of this one: the others go on
                    self._note(inference, FleetStanding(0, str(error)))
        self._fleet.sweep({inference.name for inference in rows})

    def _step(self, inference: Inference) -> None:
        gone = inference.deployment is None or inference.deployment.state == State.DELETING
        if gone or inference.state == ServingState.ENDING:
            self._end(inference)
            return
        if not inference.prepared:
            topics = (inference.input_topic, inference.output_topic)
            self._streams().create_topics([stream_spec(topic, inference.partitions) for topic in topics])
            Inference.objects.filter(pk=inference.pk).update(prepared=True)
        job = inference.deployment.job if inference.deployment is not None else None
        self._note(inference, self._fleet.bring(serving_spec(inference, self._options), inference.replicas, job))

    def _end(self, inference: Inference) -> None:
        if inference.state != ServingState.ENDING:
            Inference.objects.filter(pk=inference.pk).update(state=ServingState.ENDING)
        if not self._fleet.end(inference.name):
            return
        self._forget(inference.group)
        inference.delete()
        log.info("%s is gone, with its replicas", inference.name)

    def _note(self, inference: Inference, standing: FleetStanding) -> None:
        """Write how it stands where that changed; a person's changes since the row was read win."""
        state = _state(inference, standing)
        if (state, standing.ready, standing.problem) == (inference.state, inference.ready, inference.detail):
            return
        if state != inference.state or standing.problem:
            log.info("%s: %s %s", inference.name, state, standing.problem)
        unchanged = Inference.objects.filter(pk=inference.pk, replicas=inference.replicas, state=inference.state)
        unchanged.update(state=state, ready=standing.ready, detail=standing.problem)

    def _forget_group(self, group: str) -> None:
        forget_group(client_config(self._options.data_bootstrap, self._options.data_client_config), group)


def _state(inference: Inference, standing: FleetStanding) -> str:
    if inference.state == ServingState.ENDING:
        return ServingState.ENDING
    if not inference.replicas and not standing.problem:
        return ServingState.STOPPED
    if standing.ready >= inference.replicas and not standing.problem:
        return ServingState.RUNNING
    return ServingState.FAILING if standing.problem else ServingState.STARTING
