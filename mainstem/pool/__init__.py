"""Many protocol clients in one process, with any function in the place of training: for load tests and simulation."""

from mainstem.pool.client import PoolClient, TrainFunction
from mainstem.pool.opening import announcement_of, open_federation
from mainstem.pool.pool import Pool
from mainstem.pool.training import TRAININGS, Training, make

__all__ = ["TRAININGS", "Pool", "PoolClient", "TrainFunction", "Training", "announcement_of", "make", "open_federation"]
