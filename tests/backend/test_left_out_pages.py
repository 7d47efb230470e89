"""Whom a strategy left out: in the rows, the API, the CSV and on the pages; and whom it overlooks."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from backend.deployments.live.events import events
from backend.deployments.models import ClientRound, Deployment
from backend.runs.charts import participation
from backend.runs.charts.tape import lines
from backend.runs.reasons.notices import notices
from backend.runs.reasons.overlooked import FEWEST, NAMED, Tally, notice
from tests.backend.support import text
from tests.support.long_runs import Story, write

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


@pytest.fixture
def viewer(user: Callable[[str], Any]) -> Client:
    """A viewer's browser."""
    browser = Client()
    browser.force_login(user("viewer"))
    return browser


@pytest.fixture
def told() -> Deployment:
    """Eight rounds of five clients: the last one counted in the fourth and the eighth only."""
    return write(Story("leftout1", 5, 8, lost=1))


# ---------------------------------------------------------------- the pure function
TALLIES = st.builds(
    lambda client, updates, part, turns: Tally(client, updates, round(part * updates), turns * updates),
    st.text("abc-0123", min_size=1, max_size=8),
    st.integers(1, 60),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(st.lists(TALLIES, max_size=12, unique_by=lambda tally: tally.client))
def test_a_notice_names_who_is_overlooked_and_nobody_else(tallies: list[Tally]) -> None:
    """Those who were left out most, in any order that they are given; none where nobody is."""
    found = sorted((t for t in tallies if t.overlooked), key=lambda t: (-t.left_out / t.updates, t.client))
    said = notice("krum", tallies)
    assert bool(said) == bool(found) and said == notice("krum", tallies[::-1])
    for tally in found[:NAMED]:
        assert f"{tally.client} in {tally.left_out} of its {tally.updates} rounds" in said
    assert (f"and {len(found) - NAMED} more" in said) == (len(found) > NAMED)


@given(TALLIES)
def test_who_is_overlooked(tally: Tally) -> None:
    """More than half of enough updates; where the rule leaves out most of everybody, also far below its turns."""
    if tally.overlooked:
        assert tally.updates >= FEWEST and 2 * tally.left_out > tally.updates
        assert 2 * tally.turns > tally.updates or 2 * tally.counted < tally.turns
    elif tally.updates >= FEWEST and 2 * tally.left_out > tally.updates:
        assert 2 * tally.turns <= tally.updates  # it merely shares everybody's lot
    more = Tally(tally.client, tally.updates + 1, tally.left_out + 1, tally.turns + 1)
    assert more.overlooked or not tally.overlooked or 2 * more.turns <= more.updates


@pytest.mark.parametrize(
    ("tally", "overlooked"),
    [
        (Tally("c", 10, 6, 9.0), True),  # a rule that drops one in ten dropped it six times
        (Tally("c", 10, 5, 9.0), False),
        (Tally("c", 4, 4, 3.6), False),  # too few to say
        (Tally("c", 10, 8, 2.0), False),  # one of five counts in each round: it had its two turns
        (Tally("c", 10, 10, 2.0), True),
        (Tally("c", 5, 5, 0.5), False),  # its turn has not come
    ],
)
def test_overlooked_by_rules_of_both_kinds(tally: Tally, overlooked: bool) -> None:
    """Those that drop the worst, and those that choose the best."""
    assert tally.overlooked == overlooked


# ---------------------------------------------------------------- rows, API, CSV
def test_rows_and_api_say_who_was_left_out(told: Deployment, viewer: Client) -> None:
    """Score, reason and weight of each update; of each round how many, and what the score means."""
    answer = viewer.get("/api/results/leftout1/rounds/").json()["results"]
    assert [round_["left_out"] for round_ in answer] == [1, 1, 1, 0, 1, 1, 1, 0]
    last = answer[0]["clients"][-1]
    assert (last["left_out"], last["coefficient"], last["scale"]) == ("not chosen", 0.0, 1.0) and last["score"] > 40
    assert "distances" in answer[0]["scored_by"]
    assert [client["left_out"] for client in answer[0]["clients"][:-1]] == [""] * 4
    page = viewer.get("/api/results/leftout1/participation/?page_size=2&page=3").json()
    assert page["count"] == 5
    assert page["results"] == [
        {"client": "hospital-004", "updates": 8, "counted": 2, "left_out": 6, "turns": 6.8, "overlooked": True}
    ]
    (said,) = viewer.get("/api/deployments/leftout1/").json()["notices"]
    assert said.startswith("krum left out hospital-004 in 6 of its 8 rounds: what only it has seen hardly")


def test_a_strategy_that_judges_nobody_says_nothing(viewer: Client) -> None:
    """No score, nobody left out, no notice; the resource counts nevertheless."""
    deployment = write(Story("leftout2", 2, 6))
    (first, *_) = viewer.get("/api/results/leftout2/rounds/").json()["results"]
    assert (first["left_out"], first["scored_by"], first["clients"][0]["score"]) == (0, "", None)
    rows = viewer.get("/api/results/leftout2/participation/").json()["results"]
    assert [(row["counted"], row["left_out"], row["overlooked"]) for row in rows] == [(6, 0, False)] * 2
    assert notices(deployment) == [] and participation.tallies(deployment) == []
    page = text(viewer.get("/deployments/leftout2/"))
    assert "Who counted" not in page and "Counted</th>" not in page
    page = text(viewer.get("/deployments/leftout2/rounds/1/"))
    assert "Score" not in page and "left out" not in page


def test_a_rollback_takes_its_rounds_out_of_the_counts() -> None:
    """What the run's model does not descend from counts for nobody."""
    story = Story("leftout3", 3, 9, lost=1)
    deployment = write(story, finished=False)
    assert [t.updates for t in participation.tallies(deployment)] == [8] * 3
    deployment.head = {**deployment.head, "lineage": [0, 1, 2]}
    deployment.save()
    first = participation.tallies(deployment)[0]
    assert (first.client, first.updates, first.left_out) == ("hospital-002", 2, 2)
    assert notices(deployment) == []


def test_the_csv_has_what_was_decided(told: Deployment, viewer: Client) -> None:
    """A column each."""
    content = b"".join(viewer.get("/deployments/leftout1/rounds.csv")).decode()
    rows = list(csv.DictReader(content.splitlines()))
    assert {row["left_out"] for row in rows} == {"", "not chosen"}
    assert all(float(row["score"]) > 0 and row["scale"] == "1.0" for row in rows)


# ---------------------------------------------------------------- pages
def test_pages_show_who_was_left_out(told: Deployment, viewer: Client) -> None:
    """The run's: notice, grid, counts, rounds; the round's: each update's score, and why it is left out; clients."""
    page = text(viewer.get("/deployments/leftout1/"))
    assert "hospital-004 in 6 of its 8 rounds" in page and "Who counted" in page and "look at it" in page
    grid = page[page.index('id="grid"') : page.index('id="rounds"')]
    assert grid.count('<td class="o">○</td>') == 6 and grid.count('<td class="a">✓</td>') == 34
    assert "4 <small>of 5</small>" in page[page.index('id="rounds"') :]
    part = text(viewer.get("/deployments/leftout1/part/participation/"))
    assert part.index("hospital-004") < part.index("hospital-000")
    page = text(viewer.get("/deployments/leftout1/rounds/1/?sort=score"))
    assert "sum of squared distances" in page and "not chosen" in page and "1 left out" in page
    table = page[page.index('class="bars"') :]
    assert table.rindex("hospital-004") > table.rindex("hospital-000") and 'aria-sort="ascending"' in table
    assert "6 left out" in text(viewer.get("/deployments/leftout1/clients/"))


def test_live_and_recorded_alike(told: Deployment) -> None:
    """A committed round's event names who was left out and why; the flight recorder has a letter for it."""
    told_rounds = [data for _, data in events(told, -1) if b'"kind":"round"' in data]
    assert [data.count(b'"left_out":"not chosen"') for data in told_rounds] == [1, 1, 1, 0, 1, 1, 1, 0]
    names = [f"hospital-{number:03d}" for number in range(5)]
    tape = [line for line in lines(told, names, "loss") if line.get("kind") == "round"]
    assert [line["cells"] for line in tape[2:4]] == ["aaaao", "aaaaa"]
    assert [line.get("left_out") for line in tape[2:4]] == [1, None]
    assert ClientRound.objects.filter(round__deployment=told, left_out="").count() == 34
