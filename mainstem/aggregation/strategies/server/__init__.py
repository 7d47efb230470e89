"""What the server does with what was folded, one file each."""

from collections.abc import Mapping

from mainstem.aggregation.strategies.choice import Server
from mainstem.aggregation.strategies.server.adagrad import Adagrad
from mainstem.aggregation.strategies.server.adam import Adam
from mainstem.aggregation.strategies.server.momentum import Momentum
from mainstem.aggregation.strategies.server.replace import Replace
from mainstem.aggregation.strategies.server.yogi import Yogi

SERVERS: Mapping[str, type[Server]] = {kind.name: kind for kind in (Replace, Momentum, Adagrad, Adam, Yogi)}
