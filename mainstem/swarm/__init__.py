"""Many protocol clients in one process, with any function in the place of training: for load tests and simulation."""

from mainstem.swarm.client import PoolClient, TrainFunction
from mainstem.swarm.opening import announcement_of, open_federation
from mainstem.swarm.swarm import Pool
from mainstem.swarm.training import TRAININGS, Training, make

__all__ = ["TRAININGS", "Pool", "PoolClient", "TrainFunction", "Training", "announcement_of", "make", "open_federation"]
