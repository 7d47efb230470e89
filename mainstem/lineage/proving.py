"""Prove a run from its log alone: re-derive every version from the updates that its record names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mainstem.aggregation import strategies
from mainstem.aggregation.encoding import encoded
from mainstem.aggregation.reduction import Counted, Reduction, reduce
from mainstem.aggregation.spill import Spill
from mainstem.errors import AggregationError, ConfigError, DecodeError, RefusedError, UnreadableError
from mainstem.lineage.history import read_history
from mainstem.lineage.reading import RunReader
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import UP, Exchange, exchange, published
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Accepted, Reason, Round, StrategyChoice, TensorSpec, Weights
from mainstem.protocol.signing import by_id
from mainstem.protocol.weights import Tensor, digest
from mainstem.protocol.witness import Witness, objection_to
from mainstem.rounds.policy import Policy, check_growth, check_sparse, keyframe_due

THREADS = min(4, os.cpu_count() or 1)
"""How many reduce a round at a time; they change no bit."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict on one version. `state`: `proved`, `differs`, or `gone` (the log no longer holds what it names).

    `version` is None for a record of the control topic that is not as its writer left it and names no version; or for
    those that the platform has not signed, which are `ignored` and change no verdict. `sites` says by whose key each
    client's update was signed, in a run that names its sites, `platform` with which key the version's record was.
    """

    version: int | None
    sha256: str
    state: str
    detail: str = ""
    updates: int = 0
    sites: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None


def verify(
    log: MessageLog, federation: str, spill: Spill | None = None, witness: Witness | None = None
) -> Iterator[Proof]:
    """Every version of the run in order, one at a time: memory is a few models, whatever the number of clients; what
    waits longer goes to `spill`'s file.

    Whatever record a version names (its predecessor, its weights, its updates' manifests and chunks), a byte of it
    that changed or its absence makes that version differ; so does a log that is not the witnessed one, though no
    version of it tells. Raises LogError where the control topic cannot be read, SpillError.
    """
    history = read_history(log, federation)
    first = history.opened.weights
    with RunReader(log, history, spill=spill) as run:
        zero = _proof(0, first, history.opened.tensors, lambda: (run.tensors(first), ""))
        yield replace(zero, platform=history.opened.platform)
        for head, record in history.steps():
            if isinstance(record, Round):
                run.begin(record)
                yield prove(run, head, record)
    for stray in history.strays:
        yield Proof(stray.version, stray.sha256, "differs", stray.detail)
    if unsigned := history.forged:
        yield Proof(
            None, "", "ignored", f"records that the platform has not signed: {unsigned}; they count for nothing"
        )
    if objection := objection_to(federation, history.hashes, witness):
        yield Proof(None, "", "differs", objection)


def rederive(
    run: RunReader, head: Head, record: Round, accepted: Sequence[Accepted], strategy: StrategyChoice | None = None
) -> Reduction:
    """What these updates make of the head's model in the round of that record, which was begun: in the order given,
    perhaps by another strategy than the run's.

    Raises RefusedError, DecodeError or AggregationError where they do not make any, UnreadableError where they are
    gone, ConfigError for a strategy or mode that this version does not know, or that does not fit the run.
    """
    policy = Policy.of(head)
    if strategy is not None:
        chosen = strategies.make(strategy.name, strategy.params)
        check_sparse(chosen, policy.exchange.adapt)
        check_growth(chosen, policy.exchange.forest is not None)
        if why := chosen.misfit(head.opened.training):
            raise ConfigError(why)
        policy = replace(policy, strategy=chosen, exchange=_exchange(policy.exchange, chosen, strategy.name))
    model = run.tensors(head.weights)
    reads = run.updates(head, accepted)
    counted: list[Counted] = []
    for item, claim in zip(accepted, policy.claims(head, accepted), strict=True):
        origin = None if item.base == head.base else head.model(item.base.version)
        moved = None if origin is None else run.model(origin)
        counted.append(Counted(claim, next(reads), moved, run.sent(item)))
    state = {name: run.tensors(weights, name) for name, weights in head.groups.items()}
    specs, clients = policy.exchange, record.clients
    made = reduce(policy.strategy, specs, model, counted, state, record.round, THREADS, clients)
    return encoded(made, specs, model, state, head)


def _exchange(specs: Exchange, strategy: strategies.Strategy, name: str) -> Exchange:
    """What a run would exchange under another strategy, as far as its updates have it."""
    groups = strategy.groups(specs)
    if missing := [group.name for group in groups if group.direction == UP and group not in specs.groups]:
        raise ConfigError(f"strategy {name} needs groups that this run's updates do not carry: {missing[0]}")
    return replace(specs, groups=groups)


def prove(run: RunReader, head: Head, record: Round) -> Proof:
    """The verdict on the version that `record`, the round that was begun, makes of `head`; raises LogError."""

    sites: dict[str, str] = {}

    def made() -> tuple[Sequence[Tensor], str]:
        _check(head, record)
        for name, weights in {"": record.weights, **record.state}.items():  # what was published is what it says
            run.model(weights, name)
        run.change(record.weights)
        found = rederive(run, head, record, record.accepted)
        sites.update(_sites(run, head, record))
        return found.tensors, _difference(head, record, found)

    proof = _proof(record.version, record.weights, exchange(head.opened).model, made, len(record.accepted))
    return replace(proof, sites=sites, platform=head.opened.platform)


def _sites(run: RunReader, head: Head, record: Round) -> dict[str, str]:
    """The site of each accepted client, by its update's signature; raises RefusedError where it is not a right one."""
    rules = head.rules.admission
    if rules.mode == "open":
        return {}
    keys = by_id(site.key for site in rules.sites)
    members = {member.client: member.site for member in record.snapshot.members}
    found: dict[str, str] = {}
    for item in record.accepted:
        try:
            found[item.client] = site = run.site(rules, keys, item)
        except RefusedError as refusal:
            raise RefusedError(refusal.reason, f"the update of {item.client}: {refusal.detail}") from refusal
        if members.get(item.client, site) != site:
            whose = f"client {item.client} is one of site {members[item.client]}, and site {site} signed its update"
            raise RefusedError(Reason.UNAUTHORISED, whose)
    return found


def _difference(head: Head, record: Round, found: Reduction) -> str:
    """What the record says beside its weights and does not follow from its updates; empty where all of it does."""
    for item, due in zip(record.accepted, found.weighing, strict=True):
        said_, due_ = ((w.coefficient, w.score, w.left_out, w.scale) for w in (item, due))
        if said_ != due_:
            said = f"it weighs the update of {item.client} {item.coefficient!r}, not {due.coefficient!r}"
            return said if item.coefficient != due.coefficient else f"it says otherwise why {item.client} counts or not"
    change, specs = record.weights.change, exchange(head.opened)
    if change is not None and found.carried is not None:
        carried = list(specs.coded(specs.down).values())
        if digest(carried, found.carried) != change.sha256:
            return "the accepted updates make another change"
    for name, weights in record.state.items():
        if digest(published(head.opened)[name], found.state[name]) != weights.sha256:
            return f"the accepted updates make another group {name}"
    return ""


def _check(head: Head, record: Round) -> None:
    """What the record says must follow from its head, whatever the tensors; raises RefusedError."""
    if record.base != head.base or record.version != head.version + 1 or record.round != head.round + 1:
        raise RefusedError(Reason.UNKNOWN_BASE, f"it does not continue version {head.base.version}, the head's model")
    if record.weights.change is not None and keyframe_due(head) and not record.weights.chunks:
        raise RefusedError(Reason.MISSING_CHUNKS, "it is not published whole, though its turn has come")
    if record.strategy != head.opened.strategy:
        raise RefusedError(Reason.MALFORMED, "its strategy is not the one that the run was opened with")
    named = [(item.client, item.base.seq, item.number) for item in record.accepted]
    if len(set(named)) != len(named) or len({item.offset for item in record.accepted}) != len(named):
        raise RefusedError(Reason.DUPLICATE, "it counts an update twice")
    for item in record.accepted:
        if head.selected is not None and item.client not in head.selected.clients:
            raise RefusedError(Reason.NOT_SELECTED, f"it counts {item.client}, whom the round did not select")


def _proof(
    version: int,
    weights: Weights,
    specs: Sequence[TensorSpec],
    make: Callable[[], tuple[Sequence[Tensor], str]],
    counted: int = 0,
) -> Proof:
    try:
        tensors, difference = make()
    except UnreadableError as error:
        return Proof(version, weights.sha256, "gone", str(error), counted)
    except (RefusedError, AggregationError, DecodeError, ConfigError) as error:
        return Proof(version, weights.sha256, "differs", str(error), counted)
    found = digest(specs, tensors)
    if difference or found != weights.sha256:
        return Proof(version, weights.sha256, "differs", difference or f"the accepted updates make {found}", counted)
    return Proof(version, weights.sha256, "proved", "", counted)
