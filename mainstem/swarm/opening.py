"""Open a federation around bare tensors: no architecture, no data, for clients that train by a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mainstem.aggregation import strategies
from mainstem.protocol import topics, updates
from mainstem.protocol.adapting import personal_of
from mainstem.protocol.announcing import announced
from mainstem.protocol.control import topics_of
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.log import MessageLog, Outgoing
from mainstem.protocol.messages import (
    Adaptation,
    Announcement,
    Data,
    Forest,
    InputSpec,
    Opened,
    Rules,
    StrategyChoice,
    Training,
    encode,
)
from mainstem.protocol.signing import SigningKey, signed_by
from mainstem.protocol.weights import Tensor, specs_of
from mainstem.rounds import policy

ANY_INPUT: Final = InputSpec(shape=(1,))
STRICT: Final = Adaptation()
ONE_STEP: Final = Training(optimizer="sgd", learning_rate=1.0)
"""What a function in the place of training comes to: one step along the whole change."""


def open_federation(
    log: MessageLog,
    tensors: Sequence[Tensor],
    rules: Rules,
    strategy: StrategyChoice | None = None,
    aggregator_partitions: int = 1,
    federation: str | None = None,
    names: Sequence[str] | None = None,
    name: str = "test",
    input: InputSpec = ANY_INPUT,
    training: Training = ONE_STEP,
    frozen: Sequence[int] = (),
    adaptation: Adaptation = STRICT,
    framework: str = "tf",
    architecture: str = "{}",
    forest: Forest | None = None,
    key: SigningKey | None = None,
) -> str:
    """Create the topics, publish version 0, append `opened`, announce; the federation's id. Raises LogError.

    With a platform's `key` it is that platform's run.
    """
    federation = federation or topics.new_federation_id()
    log.create_topics(
        (*topics.shared_topics(), *topics.federation_topics(federation, aggregator_partitions=aggregator_partitions))
    )
    specs = specs_of(zip(names or [f"t{i}" for i in range(len(tensors))], tensors, strict=True))
    where = topics_of(federation)
    chosen = strategy or StrategyChoice()
    personal = personal_of(adaptation.personal, specs, "{}")
    model = exchange_of(specs, frozen=(*frozen, *personal), forest=forest)
    weights = updates.publish(log, where.data, writer="opener", update="version-0", specs=specs, tensors=tensors)
    opened = Opened(
        federation=federation,
        seq=0,
        prev="",
        name=name,
        framework=framework,
        architecture=architecture,
        input=input,
        training=training,
        strategy=chosen,
        rules=rules,
        data=Data(),
        topics=where,
        tensors=specs,
        weights=weights,
        groups=policy.groups(strategies.make(chosen.name, chosen.params), rules, model),
        frozen=tuple(frozen),
        adaptation=adaptation,
        personal=personal,
        forest=forest,
        platform=None if key is None else key.public,
    )
    log.append(where.control, [signed_by(key, where.control, Outgoing(encode(opened)))])
    log.append(topics.MODEL_CONTROL, [announcement_of(federation, rules, name=name, key=key)])
    return federation


def announcement_of(
    federation: str, rules: Rules, *, name: str = "test", revision: int = 1, key: SigningKey | None = None
) -> Outgoing:
    """The record that tells of an open federation; whether it has topics is another matter."""
    announcement = Announcement(
        federation=federation,
        name=name,
        revision=revision,
        framework="tf",
        input=ANY_INPUT,
        data=Data(),
        min_clients=rules.min_clients,
        max_clients=rules.max_clients,
        topics=topics_of(federation),
        platform=None if key is None else key.public,
    )
    return announced(announcement, key)
