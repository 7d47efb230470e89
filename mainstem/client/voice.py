"""Everything that a client tells its federation, on the aggregator topic."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from mainstem.protocol import topics, updates
from mainstem.protocol.encodings import RAW
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.log import MessageLog, Outgoing
from mainstem.protocol.messages import (
    Base,
    ClientFailed,
    Heartbeat,
    Joined,
    Left,
    Metrics,
    Report,
    TensorSpec,
    Update,
    Weights,
    encode,
)
from mainstem.protocol.packing import PACKED_BYTES, pack, signed_by
from mainstem.protocol.signing import SigningKey
from mainstem.protocol.weights import Tensor, payload_bytes, payload_of

NOTE: Final = 400
"""Characters of what a client may tell people as it joins."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a client says of its data as it joins: so many training samples, so many of each label.

    Without `growing` every update must say the same `examples`; with it, no fewer than the one before. `note` is for
    people: the records that it leaves out, and why.
    """

    examples: int
    software: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    growing: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class UpdateClaim:
    """What a client says of a training beside its tensors: how many samples, in how many steps of its optimizer, and
    where it is asked for, the loss of the model that it began with. `report` None tells nothing else."""

    examples: int
    report: Report | None = None
    steps: int = 1
    loss: float | None = None


class Voice:
    """One process of a client: `joined`, heartbeats, updates, `failed`, `left`.

    An update of up to `packed` bytes is one record. Records that decide anything go to partition 0, in order. `attempt`
    tells the chunks of this connection from those that an earlier one of the same incarnation may have left. With the
    `key` of its site it signs every one of its records; chunks need it not, which an update names by their hashes.
    Every method that sends raises LogError.
    """

    def __init__(
        self,
        log: MessageLog,
        federation: str,
        client: str,
        incarnation: str,
        *,
        attempt: str | None = None,
        packed: int = PACKED_BYTES,
        key: SigningKey | None = None,
    ) -> None:
        self.log, self.client, self.incarnation = log, client, incarnation
        self._federation, self._topic = federation, topics.aggregator_topic(federation)
        self._attempt = incarnation if attempt is None else attempt
        self._packed, self._key = packed, key

    def joined(self, presence: Presence) -> None:
        """Say that this client is there, or what has changed of its data since."""
        note = presence.note
        self.send(
            Joined(
                federation=self._federation,
                client=self.client,
                incarnation=self.incarnation,
                examples=presence.examples,
                software=presence.software,
                labels=dict(presence.labels),
                growing=presence.growing,
                note=note if len(note) <= NOTE else f"{note[: NOTE - 3]}...",
            )
        )

    def update(
        self,
        base: Base,
        number: int,
        exchange: Exchange,
        tensors: Sequence[Tensor],
        claim: UpdateClaim,
        groups: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> None:
        """Publish an update from `base`: `tensors`, which are those of `Exchange.change`, and the `groups` that go up.

        Where it is not one record, the chunks come first, by whose seconds a report is completed, and then the
        manifest that makes them an update.
        """
        name = f"{base.seq}-{number}-{self._attempt}"
        names = ["", *(group.name for group in exchange.up)]
        payloads = [tensors, *((groups or {})[each] for each in names[1:])]
        parts = dict(zip(names, zip(exchange.payloads, payloads, strict=True), strict=True))
        told = exchange.payloads[0] if exchange.narrowed else ()
        encoding = RAW if exchange.encoding is None else exchange.encoding.name
        whole = sum(payload_bytes(specs) for specs in exchange.payloads)
        if whole <= self._packed:
            manifests = {
                each: updates.unsent(writer=self.client, update=name, specs=specs, tensors=payload)
                for each, (specs, payload) in parts.items()
            }
            value = b"".join(payload_of(tensor for payload in payloads for tensor in payload))
            self.send(self.manifest(base, number, manifests, claim, encoding, told), value)
            return
        started = time.monotonic()
        manifests = {
            each: self.chunks(specs, payload, f"{name}-{each}" if each else name)
            for each, (specs, payload) in parts.items()
        }
        if claim.report is not None:
            report = msgspec.structs.replace(claim.report, upload_seconds=round(time.monotonic() - started, 3))
            claim = replace(claim, report=report)
        self.send(self.manifest(base, number, manifests, claim, encoding, told))

    def chunks(self, specs: Sequence[TensorSpec], tensors: Sequence[Tensor], update: str) -> Weights:
        """Publish the chunks alone; what names them."""
        return updates.publish(
            self.log,
            self._topic,
            writer=self.client,
            update=update,
            specs=specs,
            tensors=tensors,
            partition=updates.chunk_partition(self.client, self.log.partitions(self._topic)),
        )

    def manifest(
        self,
        base: Base,
        number: int,
        weights: Mapping[str, Weights],
        claim: UpdateClaim,
        encoding: str = RAW,
        tensors: tuple[TensorSpec, ...] = (),
    ) -> Update:
        """The manifest of an update from `base`: of the model's tensors by the name '', and of groups by theirs;
        `tensors` where it has not all of them whole."""
        return Update(
            client=self.client,
            incarnation=self.incarnation,
            base=base,
            number=number,
            examples=claim.examples,
            steps=claim.steps,
            loss=claim.loss,
            weights=msgspec.structs.replace(weights[""], encoding=encoding),
            report=claim.report or Report(),
            tensors=tensors,
            extra={group: each for group, each in weights.items() if group},
        )

    def failed(self, detail: str) -> None:
        """Say that this client gives up, and why."""
        self.send(ClientFailed(client=self.client, incarnation=self.incarnation, detail=detail[:2000]))

    def left(
        self, version: int | None = None, evaluation: Metrics | None = None, personal: Metrics | None = None
    ) -> None:
        """Say that this client leaves, with what it measured of the final `version`, and of its own model."""
        self.send(
            Left(
                client=self.client,
                incarnation=self.incarnation,
                version=version,
                evaluation=evaluation,
                personal=personal,
            )
        )

    def beat(self, phase: str, base: int | None = None, progress: float = 0.0) -> None:
        """Say that this client is alive: `phase` is waiting, training, uploading or evaluating."""
        self.send(
            Heartbeat(
                client=self.client,
                incarnation=self.incarnation,
                phase=phase,
                base=base,
                progress=round(min(max(progress, 0.0), 1.0), 3),
            )
        )

    def send(self, record: msgspec.Struct, payload: bytes | memoryview | None = None) -> int:
        """Append a deciding record, of an update perhaps with its payload; its offset."""
        if payload is not None and isinstance(record, Update):
            outgoing = pack(record, payload)
        else:
            outgoing = Outgoing(encode(record), key=self.client.encode())
        return self.log.append(self._topic, [signed_by(self._key, self._topic, outgoing)])[0]
