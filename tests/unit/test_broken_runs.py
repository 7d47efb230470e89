"""The campaign of broken runs: which sentences it takes for one, and which rows are as they should be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broken_runs.__main__ import MODULES, Row
from tests.broken_runs.case import CASES, Case, Run
from tests.broken_runs.ground import Ground
from tests.broken_runs.watch import Seen, watch


def breaks(ground: Ground) -> Run:
    raise AssertionError("no case of a campaign")


class Platform:
    """An API with one run, one stream and one Job."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.running = type("Running", (), {"kafka": ""})
        self.documents = {"deployments/r/": {"state": "waiting", "name": "a name of words", "detail": ""}} | documents

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """What the documents say; an empty page of whatever else there is."""
        return 200, self.documents.get(path.split("?", maxsplit=1)[0], {"results": []})


def test_every_case_has_a_name_of_its_own() -> None:
    """And stands in a module that the table knows."""
    assert len({case.name for case in CASES}) == len(CASES) >= 30
    assert {case.breaks.__module__ for case in CASES} == set(MODULES)


@pytest.mark.parametrize(
    ("says", "may_train", "sentence", "where", "state", "good"),
    [
        ("label", False, "labels run from 1 to 3", "GET deployments/{id}/ detail", "waiting", True),
        ("label", False, "it has not joined", "GET results/{id}/", "waiting", False),
        ("label", False, "labels run from 1 to 3", "only GET jobs/ detail", "waiting", False),
        ("label", False, "", "", "finished", False),
        ("label", True, "", "", "finished", True),
        (None, False, "", "", "finished", True),
        (None, False, "it has not joined", "GET results/{id}/", "waiting", False),
    ],
)
def test_what_a_row_is_worth(
    says: str | None, may_train: bool, sentence: str, where: str, state: str, good: bool
) -> None:
    """A broken run needs a sentence about what was done, where people look; a good one needs to train."""
    row = Row(Case("broken", says, may_train, breaks), Seen(where, sentence, state, 1.0), Run("r"))
    assert row.good is good and ("✗" in str(row)) is not good


@pytest.mark.parametrize(
    ("documents", "where"),
    [
        ({"deployments/r/": {"state": "waiting", "members": [{"detail": "labels are wrong"}]}}, "members.detail"),
        ({"results/r/": {"refusals": [{"detail": "labels are wrong"}]}}, "results/{id}/ refusals.detail"),
        (
            {
                "datasources/": {"results": [{"id": 4, "topic": "t:0:0:9", "problem": ""}]},
                "datasources/4/fits/": [{"federation": "r", "reason": "labels are wrong"}],
            },
            "fits/ reason",
        ),
        ({"jobs/": {"results": [{"state": "failed", "detail": "labels are wrong"}]}}, "only GET jobs/ detail"),
    ],
)
def test_where_a_sentence_is_looked_for(monkeypatch: pytest.MonkeyPatch, documents: dict[str, Any], where: str) -> None:
    """On the deployment, in its results, on its stream, and last at its Job."""
    monkeypatch.setattr("tests.broken_runs.watch.GRACE_SECONDS", 0.0)
    ground = Ground(Platform(documents))  # type: ignore[arg-type]
    seen = watch(ground, Run("r", topic="t"), Case("broken", "label", False, breaks), 5.0)
    assert seen.sentence == "labels are wrong" and where in seen.where
