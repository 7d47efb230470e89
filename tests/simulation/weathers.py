"""The weathers in which runs are simulated: how rough it is, and for which federation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from mainstem.aggregation import strategies
from mainstem.client.personal import Site
from mainstem.errors import ConfigError
from mainstem.protocol.messages import Adaptation, EncodingChoice, Opened, Rules, Selection, StrategyChoice
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy
from mainstem.swarm.opening import ONE_STEP
from tests.support.own_model import site_of
from tests.support.strategies import CHOSEN
from tests.support.trees import BAGGING

DEFAULT = Rules()
FEDAVG = StrategyChoice()
STRICT = Adaptation()


@dataclass(frozen=True)
class Weather:
    """How rough the world is: probabilities a port call, and the shape of the federation."""

    crash: float = 0.01
    lost_before: float = 0.01
    lost_after: float = 0.01
    torn: float = 0.3
    freeze: float = 0.003
    jump: float = 0.002
    aggregators: int = 2
    clients: int = 3
    rounds: int = 3
    partitions: int = 1
    deadline_ms: int = 10_000_000
    quorum: int | None = None
    rules: Rules = DEFAULT
    strategy: StrategyChoice = FEDAVG
    least: int | None = None
    """`min_clients`, where it is not everyone."""
    mutes: int = 0
    twins: int = 0
    visitors: int = 0
    removals: tuple[str, ...] = ()
    """Clients one of whom an operator removes."""
    adaptation: Adaptation = STRICT
    sites: tuple[Callable[[Opened], Site], ...] = (Site,)
    """The clients' models, in turn."""
    forest: bool = False
    """Whether the model is one of trees."""
    restored: float = 0.0
    """That Kafka goes back to an older copy, of a time that is as likely as any other since the beginning."""

    @property
    def exact(self) -> bool:
        """Whether every round must take everyone's update."""
        rules = self.rules
        everyone = rules.mode == "sync" and rules.target is None and rules.selection.name == "all"
        return everyone and self.quorum is None and not self.twins and not self.removals

    @property
    def opened_rules(self) -> Rules:
        """The rules that its federation is opened with."""
        return msgspec.structs.replace(
            self.rules,
            rounds=self.rounds,
            min_clients=self.least or self.clients + self.mutes,
            quorum=self.quorum,
            deadline_ms=self.deadline_ms,
            wait_limit_ms=10**12,
            final_wait_ms=2000 if self.mutes or self.visitors else 1_000_000,
        )

    def travelling(self, name: str) -> Weather:
        """The same where updates and versions travel in that one of WAYS."""
        way = WAYS[name]
        rules = msgspec.structs.replace(
            self.rules,
            encoding_up=way.encoding_up,
            encoding_down=way.encoding_down,
            keyframe_every=way.keyframe_every,
        )
        return replace(self, rules=rules)

    def under(self, choice: StrategyChoice) -> Weather | None:
        """The same with that strategy, and as many clients as it needs; None where they do not go together."""
        least, rules = strategies.make(choice.name, choice.params).least, self.rules
        if rules.selection.name != "all" and least > 1:
            count = max(rules.selection.params.get("count", 2), least)
            rules = msgspec.structs.replace(
                rules, selection=Selection(name=rules.selection.name, params={"count": count})
            )
        if rules.target is not None:
            rules = msgspec.structs.replace(rules, target=max(rules.target, least))
        some_may_lack = rules.target is not None or rules.selection.name != "all" or self.removals
        changed = replace(
            self,
            strategy=choice,
            clients=max(self.clients, least + bool(some_may_lack)),
            rules=rules,
            quorum=None if self.quorum is None else max(self.quorum, least),
            least=None if self.least is None else max(self.least, least),
        )
        try:
            policy.check(changed.strategy, changed.opened_rules, ONE_STEP, self.adaptation.adapt)
        except ConfigError:
            return None
        return changed


def way(up: str, down: str) -> Rules:
    """Rules by which updates and versions travel so, with a whole version every third round."""
    choices = EncodingChoice(name=up), EncodingChoice(name=down)
    return Rules(encoding_up=choices[0], encoding_down=choices[1], keyframe_every=3)


ALL_REQUIRED = Weather()
SEVERAL_PARTITIONS = Weather(partitions=3, aggregators=3, crash=0.02)
SHORT_DEADLINES = Weather(deadline_ms=400, quorum=1, jump=0.01)
BUFFERED = Weather(clients=5, rounds=6, deadline_ms=4000, rules=Rules(mode="buffered", buffer=3, max_staleness=2))
ASYNC = Weather(clients=4, rounds=10, partitions=2, rules=Rules(mode="async", max_staleness=3, staleness_exponent=0.7))
TARGET = Weather(clients=5, rules=Rules(target=3))
SELECTED = Weather(
    clients=5,
    deadline_ms=4000,
    rules=Rules(heartbeat_timeout_ms=1_000_000, selection=Selection(name="uniform", params={"count": 2})),
)
FASTEST = Weather(
    clients=4, deadline_ms=2000, jump=0.01, rules=Rules(selection=Selection(name="speed", params={"fraction": 0.5}))
)
MUTE = Weather(clients=3, mutes=1, deadline_ms=1000, quorum=2)
BUFFERED_MUTE = Weather(
    clients=3, mutes=1, quorum=2, deadline_ms=1000, rounds=4, rules=Rules(mode="buffered", buffer=4, max_staleness=3)
)
FASTEST_MUTE = Weather(
    clients=4, mutes=1, deadline_ms=2000, rules=Rules(selection=Selection(name="speed", params={"count": 2}))
)
CLOCKS = Weather(clients=2, mutes=1, rounds=2, quorum=2, deadline_ms=4000, jump=0.001)
TWINS = Weather(clients=3, twins=2, rounds=4)
SILENT = Weather(clients=2, mutes=1, deadline_ms=400, quorum=1, rounds=6, rules=Rules(missed_limit=2))
CHURN = Weather(clients=3, visitors=2, least=2, quorum=2, deadline_ms=2000, rounds=4)
BUFFERED_CHURN = Weather(
    clients=4, visitors=1, least=2, rounds=6, deadline_ms=2000, rules=Rules(mode="buffered", buffer=3, max_staleness=2)
)
REMOVED = Weather(clients=3, mutes=1, least=2, quorum=2, deadline_ms=4000, rounds=4, removals=("mute-0", "client-0"))
OLDER_COPY = Weather(restored=0.006, crash=0.003, freeze=0.03)
OLDER_COPIES = {"one partition": OLDER_COPY, "three partitions": replace(OLDER_COPY, partitions=3)}
ROLLED_BACK = Weather(rounds=4)
"""Where a person rolls back: `rollbacks`."""
MODES = {
    "buffered": BUFFERED,
    "async": ASYNC,
    "target": TARGET,
    "selected": SELECTED,
    "fastest": FASTEST,
    "a mute client": MUTE,
    "a buffer and a mute client": BUFFERED_MUTE,
    "the fastest and a mute client": FASTEST_MUTE,
    "two processes of one client": TWINS,
    "clocks that are set": CLOCKS,
}
MEMBERS = {
    "a silent client is given up": SILENT,
    "clients come and go": CHURN,
    "clients of a buffer come and go": BUFFERED_CHURN,
    "an operator removes a client": REMOVED,
}

NARROW: list[Tensor] = [np.zeros(7), np.zeros(1, np.float32), np.array(0, np.int32)]
"""The leading parts of START's tensors."""


PARTIAL: list[Tensor] = [NARROW[0], np.zeros(2, np.float32)]
"""The second tensor as the federation has it, the first otherwise, and no third."""
ROUGH = Weather(crash=0.02, lost_after=0.02, partitions=2, rounds=4)
SITES = {
    "personal": replace(ROUGH, adaptation=Adaptation(adapt="personal", personal=("t1",))),
    "slice": replace(ROUGH, adaptation=Adaptation(adapt="slice"), sites=(Site, site_of(NARROW))),
    "partial": replace(ROUGH, adaptation=Adaptation(adapt="partial"), sites=(Site, site_of(PARTIAL))),
}
OLDER_COPIES_OF_SITES = {
    name: replace(OLDER_COPY, rounds=4, adaptation=shape.adaptation, sites=shape.sites) for name, shape in SITES.items()
}

FORESTS = {
    "a forest": replace(ROUGH, strategy=BAGGING, forest=True),
    "a forest and short deadlines": replace(SHORT_DEADLINES, strategy=BAGGING, forest=True),
    "a forest and an older copy": replace(OLDER_COPY, strategy=BAGGING, forest=True),
}

WEATHERS = {
    "one partition": ALL_REQUIRED,
    "three partitions": SEVERAL_PARTITIONS,
    "short deadlines": SHORT_DEADLINES,
    **MODES,
    **MEMBERS,
    **{f"an older copy, {partitions}": weather for partitions, weather in OLDER_COPIES.items()},
}
WAYS = {
    "raw": Rules(),
    "int8 both ways": way("int8", "int8"),
    "int4 both ways": way("int4", "int4"),
    "topk up, float16 down": way("topk", "float16"),
    "float16 up": way("float16", "raw"),
    "bfloat16 both ways": way("bfloat16", "bfloat16"),
    "int8 down": way("raw", "int8"),
}
"""How updates and versions travel."""
KEPT: dict[str, Weather] = {
    **{name: replace(OLDER_COPY, rounds=4).travelling(name) for name in WAYS if name != "raw"},
    **OLDER_COPIES_OF_SITES,
}
"""Kafka goes back to an older copy, and clients have kept something."""
STRATEGIES: dict[str, Weather] = {
    name: weather
    for name, choice in CHOSEN.items()
    if (weather := replace(SEVERAL_PARTITIONS, partitions=2).under(choice)) is not None
}
"""Each with all its clients required: the bytes are those of an undisturbed run."""
ENCODED = {name: replace(SEVERAL_PARTITIONS, rounds=4).travelling(name) for name in WAYS if name != "raw"}
