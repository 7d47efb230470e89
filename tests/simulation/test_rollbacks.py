"""Simulated runs in which a person rolls back at a random time: one chain goes on, and every version is proved."""

from __future__ import annotations

from tests.simulation import rollbacks
from tests.simulation.weathers import ROLLED_BACK

RUNS = 16


def test_a_rollback_at_any_time_leaves_one_chain() -> None:
    """Crashes, freezes and rivals around it."""
    back = sum(rollbacks.rolled_back(rollbacks.run(seed, ROLLED_BACK)) for seed in range(RUNS))
    assert back > RUNS // 2, "most runs were really rolled back"
