"""What clients do beside plain training, one file each."""

from collections.abc import Mapping

from mainstem.aggregation.strategies.choice import Client
from mainstem.aggregation.strategies.client.plain import Plain
from mainstem.aggregation.strategies.client.proximal import Proximal
from mainstem.aggregation.strategies.client.scaffold import Scaffold

CLIENTS: Mapping[str, type[Client]] = {kind.name: kind for kind in (Plain, Proximal, Scaffold)}
