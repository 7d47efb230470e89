"""The round machine on a log in memory: drivers that carry out its effects one at a time, and a plain oracle."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from mainstem.aggregation.strategies import Weighed
from mainstem.errors import RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import (
    Accepted,
    Base,
    ClientFailed,
    ClientRecord,
    Heartbeat,
    Joined,
    Left,
    Member,
    Reason,
    Round,
    Rules,
    Tick,
    Unknown,
    Update,
)
from mainstem.rounds import (
    READING,
    Append,
    Check,
    Checked,
    Close,
    Effect,
    Event,
    Followed,
    Phase,
    Plan,
    Reduced,
    Reject,
    RoundMachine,
    Seen,
    events_of,
)
from mainstem.rounds.making import decided
from mainstem.rounds.phases import TABLE
from mainstem.rounds.policy import Policy
from mainstem.rounds.timing import longest_step
from mainstem.runtime.driver import EffectQueue
from tests.support.chains import Topic, opened, weights
from tests.vectors.examples import FEDERATION

BAD = "bad"
"""An update whose manifest's `update` says so is refused when its tensors are read."""


@dataclass
class World:
    """Both topics of a federation, and its log time."""

    control: Topic = field(default_factory=Topic)
    inbox: list[Seen] = field(default_factory=list)
    now_ms: int = 1000

    @staticmethod
    def of(**rules: Any) -> World:
        """A federation that has just been opened."""
        world = World()
        world.control.append(opened(**rules), world.now_ms)
        return world

    def send(self, record: ClientRecord | None, signer: str = "") -> int:
        """A client's record (None: not decodable), at the present log time, signed with that key."""
        problem = "" if record else "it is no JSON"
        self.inbox.append(Seen(len(self.inbox), self.now_ms, record, problem, signer=signer))
        return len(self.inbox) - 1

    def start(self) -> None:
        """An aggregator's first tick under the head: its time begins."""
        self.send(Tick(writer="w", seq=self.control.head().link.record.seq))

    def pass_time(self, ms: int) -> None:
        """Time passes, as an aggregator's ticks tell it."""
        self.start()
        step = longest_step(self.control.head().rules)
        for passed in range(0, ms, step):
            self.now_ms += min(step, ms - passed)
            self.start()

    def join(self, *clients: str, incarnation: str = "1") -> None:
        """Clients join."""
        for client in clients:
            self.send(Joined(federation=FEDERATION, client=client, incarnation=incarnation, examples=5))

    def update(self, client: str, head: Head | None = None, **changes: Any) -> int:
        """A client's update, good unless changed: of the incarnation that joined last."""
        head = head or self.control.head()
        joins = [seen.record for seen in self.inbox if isinstance(seen.record, Joined) and seen.record.client == client]
        fields: dict[str, Any] = {
            "client": client,
            "incarnation": joins[-1].incarnation if joins else "1",
            "base": head.base,
            "number": 0,
            "examples": 5,
            "weights": weights(hashlib.sha256(client.encode()).hexdigest(), max(len(self.inbox) - 1, 0), client),
        }
        return self.send(Update(**(fields | changes)))


def verdict(update: Update) -> RefusedError | None:
    """What reading the update's tensors comes to: a function of the log alone."""
    return RefusedError(Reason.CHECKSUM, "the tensors do not hash") if update.weights.update == BAD else None


def reduced(base: Base, accepted: Sequence[Accepted]) -> str:
    """The digest of the reduced model: a function of base and accepted updates alone."""
    said = [base.seq, [(a.sha256, a.client, a.coefficient) for a in accepted]]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def weighed(head: Head | None, plan: Plan) -> Sequence[Weighed]:
    """What the head's strategy decides about the plan's updates."""
    assert head is not None
    policy = Policy.of(head)
    return policy.strategy.weigh(policy.claims(head, plan.accepted), None)


def state_of(machine: RoundMachine) -> dict[str, Any]:
    """Everything the machine knows, comparable."""
    state = dict(vars(machine))
    round_ = state.pop("_round")
    state["_commands"] = vars(state["_commands"])
    state.pop("_resume") if machine.phase is not Phase.CHECKING else None
    if round_ is None:
        return copy.deepcopy(state)
    state |= vars(round_) | {"refusals": vars(round_.refusals)}
    state.pop("policy")  # it follows from the head
    roster = state.pop("roster")
    known = {
        "members": roster.members,
        "forgotten": roster.forgotten,
        "expected": roster.expected,
        "awaited": set(roster.awaited),
    }
    return copy.deepcopy(state) | known


class WatchedMachine(RoundMachine):
    """A round machine that goes nowhere else than its table says; `taken` is where all of them went."""

    taken: ClassVar[set[tuple[Phase, type[Event], Phase]]] = set()

    def handle(self, event: Event) -> list[Effect]:
        """See `RoundMachine`."""
        before = self.phase
        effects = super().handle(event)
        assert self.phase in TABLE[before][type(event)], f"{before} --{type(event).__name__}--> {self.phase}"
        self.taken.add((before, type(event), self.phase))
        return effects


class Driver:
    """One aggregator: reads the control topic, feeds the machine, carries out effects when told to."""

    def __init__(self, world: World, writer: str) -> None:
        self.world, self.machine, self.control = world, WatchedMachine(writer), world.control.reader()
        self.queue: EffectQueue[Event, Effect] = EffectQueue(self.machine, self._act)

    @property
    def pending(self) -> list[Effect]:
        """What is still to be carried out."""
        return list(self.queue.effects)

    def sync(self) -> None:
        """Read the control topic to its end, as the worker does."""
        self.queue.feed(self._events())

    def _events(self) -> Iterator[Event]:
        """What stands in the control topic; a new head voids what was to be carried out under the old one."""
        entries = self.control.sync()
        for event in events_of(self.control.head, entries):
            if isinstance(event, Followed):
                self.queue.effects.clear()
            yield event

    @property
    def next(self) -> Seen | None:
        """The record that the machine reads next."""
        position = self.machine.position
        return self.world.inbox[position] if position < len(self.world.inbox) else None

    def effect(self) -> bool:
        """Carry out one pending effect; False where there is none."""
        return self.queue.step()

    def _act(self, effect: Effect) -> Iterable[Event]:
        match effect:
            case Check(offset, update):
                return [Checked(offset, verdict(update))]
            case Close(plan):
                weighing = weighed(self.machine.head, plan)
                made = weights(reduced(plan.base, decided(plan.accepted, weighing)))
                return [Reduced(made, weighing, {})]
            case Reject(record):
                self.world.control.append(record, self.world.now_ms)
                return []
            case Append(record):
                self.world.control.append(record, self.world.now_ms)
                return self._events()

    def step(self) -> bool:
        """One turn: an effect, else the next record; False where there is nothing to do."""
        if self.effect():
            return True
        if (seen := self.next) is None or self.machine.phase not in READING:
            return False
        self.queue.feed([seen])
        return True

    def settle_until(self, phase: Phase) -> None:
        """Do what there is to do until the machine is at that phase."""
        while self.machine.phase is not phase:
            assert self.step(), f"it never is {phase}"

    def settle(self) -> None:
        """Do all there is to do."""
        self.sync()
        while self.step():
            pass

    def restored(self) -> Driver:
        """A new aggregator that has read what this one has read."""
        other = Driver(self.world, self.machine._writer)
        other.sync()
        while other.machine.position < self.machine.position and other.step():
            pass
        while other.pending and isinstance(other.pending[0], Check):
            other.effect()
        return other


@dataclass(frozen=True)
class Known:
    """The oracle's member: who speaks for it, who did before or was removed, and the examples that its updates say."""

    incarnation: str
    earlier: tuple[str, ...]
    active: bool
    examples: int
    growing: bool

    def takes(self, update: Update) -> bool:
        """Whether an update comes from the member that joined last, and from its data."""
        fits = update.examples >= self.examples if self.growing else update.examples == self.examples
        return update.incarnation == self.incarnation and fits


def known_of(known: Known) -> tuple[str, ...]:
    """Every incarnation of it so far that is remembered."""
    return tuple(each for each in (*known.earlier, known.incarnation) if each)[-9:]


@dataclass
class Doors:
    """The oracle of admission, without keys that expire: by key the sites, by client id whose it is."""

    open: bool
    sites: dict[str, str]
    owners: dict[str, str]

    @staticmethod
    def of(head: Head) -> Doors:
        """As a head's rules and snapshot say."""
        rules = head.rules.admission
        owners = {member.client: member.site for member in head.snapshot.members}
        return Doors(rules.mode == "open", {site.key: site.name for site in rules.sites}, owners)

    def are_shut(self, client: str) -> bool:
        """Whether a client's site may not take part."""
        return not self.open and self.owners.get(client, "") not in self.sites.values()

    def admit(self, seen: Seen) -> bool:
        """Whether the record may say anything."""
        if self.open or seen.record is None or isinstance(seen.record, Tick | Unknown):
            return True
        site, owner = self.sites.get(seen.signer), self.owners.get(seen.record.client)
        free = owner is None or owner not in self.sites.values()
        return site is not None and (site == owner or ((free and isinstance(seen.record, Joined)) or owner is None))


Counted = dict[tuple[str, int], int]
"""(client, sequence of its base) -> offset of the update that counts."""


def counted(world: World, head: Head, end: int, newest: dict[str, int]) -> Counted:
    """The oracle: what counts under `head` of the records up to `end`; `newest` are the bases that counted before."""
    rules = head.rules
    members = {
        m.client: Known(
            "" if m.status == "removed" else m.incarnation,
            (*m.superseded, m.incarnation) if m.status == "removed" else m.superseded,
            m.status == "active",
            m.examples,
            m.growing,
        )
        for m in head.snapshot.members
    }
    doors = Doors.of(head)
    for client in [client for client, known in members.items() if doors.are_shut(client)]:
        members[client] = replace(members[client], incarnation="", active=False, earlier=known_of(members[client]))
    forgotten = -1 if head.snapshot.forgotten is None else head.snapshot.forgotten
    removals = list(head.removals)
    reach = 0 if rules.mode == "sync" else rules.max_staleness
    bases = head.lineage[-1 - reach :]
    newest, counts = dict(newest), {}
    for seen in world.inbox[head.snapshot.position : end]:
        told = seen.record.seq if isinstance(seen.record, Tick) and seen.record.seq is not None else -1
        told = told if told <= head.link.record.seq else -1
        for client in [client for client, seq in removals if seq <= told and client in members]:
            gone = members[client]
            earlier = (*gone.earlier, gone.incarnation)[-9:]
            members[client] = Known("", earlier, False, gone.examples, gone.growing)
        removals = [removal for removal in removals if removal[1] > told]
        if not doors.admit(seen):
            continue
        match seen.record:
            case Joined(federation=federation, client=client, incarnation=incarnation) as joined:
                active = {c for c, known in members.items() if known.active} - {client}
                before = members.get(client)
                earlier = before.earlier if before else ()
                if federation == FEDERATION and len(active) < rules.max_clients and incarnation not in earlier:
                    if before and before.incarnation not in ("", incarnation):
                        earlier = (*earlier, before.incarnation)[-8:]
                    if before is None:
                        newest[client] = max(newest.get(client, -1), forgotten)
                    members[client] = Known(incarnation, earlier, True, joined.examples, joined.growing)
                    doors.owners[client] = doors.sites.get(seen.signer, "")
            case Left(client=client, incarnation=incarnation) | ClientFailed(client=client, incarnation=incarnation):
                if client in members and members[client].incarnation == incarnation:
                    members[client] = replace(members[client], active=False)
            case Update() as update if update.client in members and newest.get(update.client, -1) < update.base.seq:
                fine = members[update.client].takes(update)
                fine = (
                    fine and update.base in bases and update.number == 0 and 1 <= update.examples <= rules.max_examples
                )
                fine = fine and (head.selected is None or update.client in head.selected.clients)
                fine = fine and all(run.first + run.count <= seen.offset for run in update.weights.chunks)
                fine = fine and update.weights.writer == update.client
                if fine and update.weights.nbytes == head.opened.weights.nbytes and verdict(update) is None:
                    counts[update.client, update.base.seq] = seen.offset
                    newest[update.client] = update.base.seq
                    members[update.client] = replace(members[update.client], examples=update.examples)
            case Heartbeat() | _:
                pass
    return counts


def check_round(world: World, before: Head, record: Round, newest: dict[str, int]) -> None:
    """A committed round is what the oracle says, closed no sooner than its rules allow."""
    snapshot, rules = record.snapshot, before.rules
    assert before.snapshot.position <= snapshot.position <= len(world.inbox)
    offsets = {(a.client, a.base.seq): a.offset for a in record.accepted}
    assert len(offsets) == len(record.accepted), "an update counts twice"
    assert offsets == counted(world, before, snapshot.position, newest), "other updates than those that were accepted"
    enough = {"sync": rules.target or rules.min_clients, "buffered": rules.buffer, "async": 1}[rules.mode]
    least = min(rules.quorum if rules.quorum is not None else rules.min_clients, enough)
    if rules.selection.name != "all":
        assert before.selected is not None and before.selected.round == record.round
        least = before.selected.quorum
    assert len(offsets) >= least
    assert record.base == before.base and all(a.base in before.lineage for a in record.accepted)
    for a in record.accepted:
        behind = len(before.lineage) - 1 - before.lineage.index(a.base)
        assert math.isclose(a.coefficient, a.examples * (1 + behind) ** -0.5, rel_tol=1e-14)
    assert (record.round, record.version) == (before.round + 1, before.version + 1)
    assert [a.sha256 for a in record.accepted] == sorted(a.sha256 for a in record.accepted)
    assert record.weights.sha256 == reduced(record.base, record.accepted)
    if record.closed.by == "deadline":
        assert record.closed.offset == snapshot.position
        assert world.inbox[snapshot.position].time_ms >= record.opened_ms + rules.deadline_ms
        assert record.closed.time_ms == snapshot.time_ms
    elif record.closed.by in ("buffer", "target"):
        assert len(offsets) >= enough
    else:
        # on all answers: nobody who was awaited is missing
        present = {m.client for m in snapshot.members if m.status == "active" and not given_up(m, rules)}
        joined_before = {m.client for m in before.snapshot.members if m.status == "active"}
        if before.selected is not None:
            joined_before = set(before.selected.clients)
        answered = {client for client, seq in offsets if seq == before.base.seq}
        few = before.selected is None and len(joined_before) < rules.min_clients
        assert few or joined_before & present <= answered
    assert record.opened_ms >= before.since_ms
    check_members(world, before, record)


def given_up(member: Member, rules: Rules) -> bool:
    """Whether no round waits for it."""
    return bool(rules.missed_limit) and member.missed >= rules.missed_limit


def check_members(world: World, before: Head, record: Round) -> None:
    """The snapshot is bounded, and names no more deadlines than passed without a word."""
    snapshot, rules = record.snapshot, before.rules
    gone = [m for m in snapshot.members if m.status != "active"]
    assert len(gone) <= rules.max_clients
    reach = 0 if rules.mode == "sync" else rules.max_staleness
    within = {base.seq for base in (before.lineage[-reach:] if reach else ())}
    assert all(m.status == "removed" or m.counted in within for m in gone), "it keeps who left"
    earlier = {m.client: m.missed for m in before.snapshot.members}
    passed = (snapshot.time_ms - record.opened_ms) // rules.deadline_ms
    answered = {a.client for a in record.accepted if a.base == record.base}
    read = world.inbox[before.snapshot.position : snapshot.position]
    heard = {getattr(seen.record, "client", "") for seen in read}
    for m in snapshot.members:
        assert m.missed <= earlier.get(m.client, 0) + max(passed, 0)
        silent = m.client in earlier and m.client not in heard and record.closed.by == "deadline"
        awaited = before.selected is None or m.client in before.selected.clients
        if silent and awaited and m.status == "active" and m.client not in answered and not m.missed:
            raise AssertionError(f"{m.client} was silent past a deadline, which is not counted")


def check_history(world: World) -> None:
    """Every round of the chain, each against the head that it follows."""
    reader, head = world.control.reader(), None
    newest: dict[str, int] = {}
    while entries := reader.sync(1):
        record = entries[0].link.record if entries[0].link else None
        if isinstance(record, Round):
            assert head is not None
            check_round(world, head, record, newest)
            for a in record.accepted:
                newest[a.client] = max(newest.get(a.client, -1), a.base.seq)
        head = reader.head
