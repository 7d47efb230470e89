"""What a run will need of Kafka's disk."""

from __future__ import annotations

import pytest

from mainstem.protocol.messages import EncodingChoice, Rules, Selection
from mainstem.rounds.needs import needs


def test_a_long_run_that_keeps_everything() -> None:
    """3,000 rounds of 10 clients with 400 KB: 13 GB, which is said, and warned of where they are not free."""
    found = needs(Rules(rounds=3000, min_clients=10), 400_000)
    assert (found.updates, found.versions) == (12_000_000_000, 1_200_000_000)
    assert found.said == ("about 13 GB in Kafka: updates of 10 clients in 3,000 rounds, 3,000 versions, 400 KB each")
    assert found.warning(14_000_000_000, 500_000_000) == found.warning(None, 500_000_000) == ""
    assert found.warning(5_000_000_000, 500_000_000) == (
        f"This run needs {found.said}. 5.0 GB are free, and rounds wait below 0.50 GB: "
        "give keep_updates, so that old rounds' updates go, or make room."
    )
    both = {"encoding_up": EncodingChoice(name="int4"), "encoding_down": EncodingChoice(name="int8")}
    fewer = needs(Rules(rounds=3000, min_clients=10, **both), 400_000)  # type: ignore[arg-type]
    assert (fewer.update, fewer.version) == (51_612, 101_564 + 400_000 + 40_000)
    assert fewer.said.endswith("updates of 10 clients in 3,000 rounds, 52 KB each, 3,000 versions, 542 KB each")
    pruned = needs(Rules(rounds=3000, min_clients=10, keep_updates=4), 400_000)
    assert pruned.updates == 5 * 10 * 400_000
    assert "keep_updates" not in pruned.warning(0, 0)
    forest = needs(Rules(rounds=20, min_clients=5), 25_000, brings=248)
    assert (forest.updates, forest.versions) == (20 * 5 * 248, 20 * 25_000)


@pytest.mark.parametrize(
    ("rules", "members", "clients"),
    [
        (Rules(min_clients=3), 0, 3),
        (Rules(min_clients=3), 20, 20),
        (Rules(min_clients=3, selection=Selection(name="uniform", params={"count": 2})), 20, 2),
        (Rules(min_clients=3, selection=Selection(name="uniform", params={"fraction": 0.5})), 20, 10),
        (Rules(mode="buffered", buffer=7), 20, 7),
        (Rules(mode="async"), 20, 1),
    ],
)
def test_whose_updates_a_round_takes(rules: Rules, members: int, clients: int) -> None:
    """Those who are there, or must come, as the mode and the selection ask them."""
    assert needs(rules, 1, members=members).clients == clients


def test_late_updates_are_kept_as_long_as_they_may_count() -> None:
    """What pruning leaves in the asynchronous modes; and only rounds to come count."""
    rules = Rules(rounds=100, mode="buffered", buffer=2, max_staleness=10, keep_updates=1)
    assert needs(rules, 1).kept == 12
    assert needs(rules, 1, done=95).kept == needs(rules, 1, done=95).rounds == 5
    assert needs(rules, 1, done=120).total == 0
