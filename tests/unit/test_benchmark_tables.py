"""Tables of figures: made from kept JSON, put between marks, a loss shown as one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from benchmarks import all as runner
from benchmarks import tables

MEASURED = {
    "command": "python -m benchmarks.aggregation --repeat 2",
    "date": "2026-01-02 03:04 UTC",
    "load_before": 0.5,
    "load_after": 2.0,
    "seconds": 1,
}
FOLD = {
    "runs": {
        "fold": [{"seconds": 1.0, "rate": 4.0}, {"seconds": 3.0, "rate": 2.0}],
        "NumPy float64": [{"seconds": 4.0, "rate": 1.0}],
        "memory copy": [{"seconds": 0.5, "rate": 10.0}],
    },
    "largest_difference": 6e-8,
    "measured": [MEASURED],
}


def _side(seconds: float, **more: Any) -> list[dict[str, Any]]:
    shared = {"spreading": [1.0], "server_cpu": 1.0, "clients_cpu": 1.0, "side_memory": 1e6}
    return [{"rounds": [seconds], **shared, **more}]


def test_a_table_replaces_what_stands_between_its_marks() -> None:
    """The prose around stays, and a second rewriting changes nothing."""
    document = "before\n<!-- figures: aggregation -->\nold\n<!-- end -->\nafter\n"
    once = tables.rewritten(document, {"aggregation": FOLD})
    assert once.startswith("before\n<!-- figures: aggregation -->\n")
    assert once.endswith("<!-- end -->\nafter\n")
    assert "| fold | 3 (2 to 4) | 2 (1 to 3) |" in once
    assert "2026-01-02 03:04 UTC, load average 0.5 before and 2 after" in once
    assert tables.rewritten(once, {"aggregation": FOLD}) == once


def test_a_mark_without_a_table_is_an_error() -> None:
    """A misspelt name does not silently keep old figures."""
    with pytest.raises(KeyError):
        tables.rewritten("<!-- figures: agregation -->\n<!-- end -->", {"agregation": FOLD})


def test_a_loss_is_marked_in_both_tables() -> None:
    """Where Flower is faster, the ratio says so, and the target is missed."""
    told = {"flower": "1.0", "runs": {"mainstem": _side(4.0), "flower": _side(2.0)}, "measured": [MEASURED]}
    assert "| seconds a round | 4 | 2 | **0.50, a loss** |" in tables.made("grpc-5MB", {"grpc-5MB": told})
    targets = tables.made("targets", {"grpc-5MB": told})
    assert "**a loss, 0.50 times**: 4 s against 2 s | **missed** |" in targets


def test_encoded_runs_stand_behind_the_raw_one() -> None:
    """With columns of their own, and targets of their own."""
    runs = {"mainstem": _side(4.0), "int8": _side(1.0), "flower": _side(6.0)}
    told = {"flower": "1.0", "runs": runs, "measured": [MEASURED]}
    table = tables.made("grpc-5MB", {"grpc-5MB": told})
    assert "| Flower / ours | ours, int8 | Flower / int8 |" in table
    assert "| seconds a round | 4 | 6 | 1.5 | 1 | 6.0 |" in table
    targets = tables.made("targets", {"grpc-5MB": told})
    assert (
        "as int8 both ways, beside Flower over gRPC: a round | 5 times | 6.0 times: 1 s against 6 s | met |" in targets
    )


def test_runs_of_two_measurements_are_put_together() -> None:
    """Both are counted and both are named."""
    joined = runner.joined(FOLD, FOLD)
    assert len(joined["runs"]["fold"]) == 4
    assert len(joined["measured"]) == 2


def test_every_published_table_is_made_of_the_kept_figures() -> None:
    """What README.md and RESULTS.md show is what the JSON beside them says."""
    kept = {file.stem: json.loads(file.read_text()) for file in sorted(runner.RESULTS.glob("*.json"))}
    for document in runner.DOCUMENTS:
        text = document.read_text()
        assert set(re.findall(r"<!-- figures: ([\w-]+) -->", text)) <= {*tables.TABLES, *tables.TARGETS}
        assert tables.rewritten(text, kept) == text
