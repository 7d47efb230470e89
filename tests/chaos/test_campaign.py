"""A short campaign of every kind of fault, and that the faults are the seed's alone."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos import plan
from tests.chaos.campaign import Campaign
from tests.chaos.platform import PlatformStage

pytestmark = pytest.mark.chaos
SEED, FEDERATION = 7, 14147
"""A federation whose first six faults are one of each kind, the database last, during which the run may end."""


def test_a_seed_chooses_the_same_faults_again() -> None:
    """The faults of a federation follow from the seed, its number and the kinds, and from nothing else."""
    first = list(islice(plan.faults(7, 3), 100))
    assert first == list(islice(plan.faults(7, 3), 100))
    assert first != list(islice(plan.faults(7, 4), 100))
    assert first != list(islice(plan.faults(8, 3), 100))


def test_every_deck_holds_every_kind() -> None:
    """In as many faults as a deck holds, each kind comes as often as it should."""
    size = sum(plan.KINDS.values())
    assert Counter(fault.kind for fault in islice(plan.faults(1, 0), size)) == plan.KINDS


def test_a_short_campaign(platform: PlatformStage, tmp_path: Path) -> None:
    """A federation under faults of every kind; `python -m tests.chaos.campaign` runs as many as you like."""
    with open(tmp_path / "faults.jsonl", "w") as journal:
        campaign = Campaign(platform, SEED, journal, each=2 * len(plan.KINDS))
        campaign.federation(FEDERATION)
    assert set(campaign.by_kind) == set(plan.KINDS)
