"""Charts, grid and tape of long runs: the whole of them, thinned, and what the pages say of rounds that do not wait."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from backend.deployments.live.events import values
from backend.deployments.models import ClientRound, Deployment, Refusal
from backend.deployments.projection import projection
from backend.runs.charts import curves
from backend.runs.charts.tape import WORDS, lines
from backend.runs.charts.thinning import indices_of_extremes, stretches
from backend.runs.ordering import natural
from backend.runs.pages.overview import _card
from backend.streams.models import Injection, InjectionState
from mainstem.protocol.messages import RolledBack
from mainstem.rounds import successor
from tests.backend.support import text
from tests.support.chains import weights
from tests.support.long_runs import CLUSTER, Story, write

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

PAGE_BYTES = 100_000
"""Of a page of a long run without its scripts, compressed."""


@pytest.fixture
def viewer(user: Callable[[str], Any]) -> Client:
    """A viewer's browser."""
    browser = Client()
    browser.force_login(user("viewer"))
    return browser


# ---------------------------------------------------------------- thinning
@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=300), st.integers(2, 60))
def test_thinning_keeps_the_ends_and_every_extreme(values: list[float | None], most: int) -> None:
    """In order, no more than asked, the first, the last, the lowest and the highest among them."""
    places = indices_of_extremes(values, most)
    assert places == sorted(set(places)) and len(places) <= max(most, 4)
    if values:
        assert {0, len(values) - 1} <= set(places)
    found = [value for value in values if value is not None]
    if found:
        assert {min(found), max(found)} <= {values[place] for place in places}


@given(st.integers(0, 500), st.integers(1, 60))
def test_stretches_cover_everything_once(count: int, most: int) -> None:
    """Stretch after stretch, none is empty."""
    parts = stretches(count, most)
    assert [place for part in parts for place in part] == list(range(count))
    assert all(len(part) for part in parts) and len(parts) <= most


# ---------------------------------------------------------------- the learning curve
def test_the_curve_is_the_whole_run(viewer: Client) -> None:
    """400 rounds: the curve begins with round 1 and falls; a range of it is in the address."""
    deployment = write(Story("long0400", 3, 400, scale=80))
    told = viewer.get("/deployments/long0400/curves/?metric=loss").json()
    assert (told["total"], told["rounds"][0], told["rounds"][-1]) == (400, 1, 400)
    assert told["global"][0] > 2.2 and min(told["global"]) < 0.2
    assert set(told["clients"]) == {"hospital-000", "hospital-001", "hospital-002"}
    some = viewer.get("/deployments/long0400/curves/?metric=loss&from=101&to=110").json()
    assert some["rounds"] == list(range(101, 111)) and len(some["phases"]["train"]) == 10
    assert [round(value, 3) for value in some["global"]] == [
        round(value, 3) for value in told["global"][told["rounds"].index(101) :][:10]
    ]
    page = text(viewer.get("/deployments/long0400/"))
    assert "Rounds 1 to 400" in page and "rounds/400/" in page
    page = text(viewer.get("/deployments/long0400/?from=101&to=110&metric=accuracy"))
    assert "Rounds 101 to 110; later ones are not shown." in page
    assert 'data-source="/deployments/long0400/curves/?from=101&to=110&metric=accuracy"' in page
    line = _card(deployment)["line"].split()
    assert len(line) > 60 and line[0].startswith("0.0,") and line[-1].startswith("100.0,")
    assert float(line[0].partition(",")[2]) > float(line[-1].partition(",")[2]) + 15  # accuracy, from bottom to top


def test_a_long_curve_is_thinned_with_its_extremes(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many points; the run's lowest and highest are among them; many clients become a band around all."""
    monkeypatch.setattr(curves, "POINTS", 20)
    monkeypatch.setattr(curves, "LINES", 100)
    deployment = write(Story("thinned1", 6, 90))
    everything = [told["loss"] for _, told in curves.told_versions(deployment)][1:]
    told = viewer.get("/deployments/thinned1/curves/?metric=loss").json()
    assert len(told["rounds"]) <= 20 and told["total"] == 90
    assert min(told["global"]) == pytest.approx(min(everything), rel=1e-3)
    assert max(told["global"]) == pytest.approx(max(everything), rel=1e-3)
    updates = ClientRound.objects.filter(round__deployment=deployment)
    trained = [values(training)["loss"] for training in updates.values_list("training", flat=True)]
    assert "clients" not in told
    assert min(told["band"]["low"]) == pytest.approx(min(trained), rel=1e-3)
    assert max(told["band"]["high"]) == pytest.approx(max(trained), rel=1e-3)
    slowest = max(updates.values_list("train_seconds", flat=True))
    assert len(told["phases"]["rounds"]) == 10
    assert max(told["phases"]["train"]) == pytest.approx(slowest, rel=1e-3)
    page = text(viewer.get("/deployments/thinned1/"))
    assert "of each 9 rounds or so, the lowest and the highest" in page and "the range of all clients" in page


def test_runs_side_by_side_are_whole(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison thins a long run and leaves out none of it."""
    monkeypatch.setattr("backend.runs.pages.compare.thin", lambda points: curves.thin(points, 20))
    write(Story("sidebysd", 2, 90))
    told = viewer.get("/compare/curves/?run=sidebysd&metric=loss").json()
    assert told["rounds"][-1] == 90 and len(told["rounds"]) <= 20


# ---------------------------------------------------------------- past ranges
def test_a_past_range_says_that_it_is_one(viewer: Client) -> None:
    """Its page and its curve end where the address says; both are marked, so that the script adds nothing to them."""
    write(Story("running1", 3, 120), finished=False)
    page = text(viewer.get("/deployments/running1/?upto=60"))
    assert "These are the rounds up to 60, as they were: later ones do not come in here." in page
    assert 'data-after="' in page and " data-past>" in page and 'id="charts" data-past' in page
    assert '<th scope="col" data-round="61"' not in page and '<th scope="col" data-round="60"' in page
    told = viewer.get("/deployments/running1/curves/?metric=loss&upto=60").json()
    assert told["rounds"] == list(range(1, 61))
    page = text(viewer.get("/deployments/running1/"))
    assert "data-past" not in page and 'data-round="120" class="open"' in page
    part = text(viewer.get("/deployments/running1/part/learning/?to=60"))
    assert 'id="charts" data-past' in part


# ---------------------------------------------------------------- rounds that do not wait
@pytest.mark.parametrize(("mode", "clients"), [("async", 5), ("buffered", 30)])
def test_ordinary_updates_are_not_called_stale(mode: str, clients: int, viewer: Client) -> None:
    """An update that counts was accepted, from however many versions before; it came before its round opened."""
    write(Story("notstale", clients, 12, mode=mode))
    page = text(viewer.get("/deployments/notstale/"))
    grid, lanes = page[page.index('id="grid"') : page.index('id="rounds"')], page[page.index('id="lanes"') :]
    assert '<td class="s">' not in grid and '<td class="a">✓</td>' in grid
    assert "stale</span>" not in lanes and "-0.06" not in page
    assert "0.06 s before it opened" in lanes and "before</small>" in lanes and "after it opened" in lanes
    own = text(viewer.get("/deployments/notstale/rounds/9/"))
    assert "stale</span>" not in own and "-0.06" not in own


def test_a_lane_begins_where_its_update_began(viewer: Client) -> None:
    """The drawing of a round that was fed before it opened has its opening inside, and no bar is cut off."""
    from backend.runs.charts import grid as runs

    deployment = write(Story("earlier1", 5, 6, mode="async"))
    round_ = deployment.rounds.get(number=6)
    lanes = runs.lanes(round_, list(round_.clients.all()), 10)
    (lane,) = lanes.lanes
    assert lane.train[0] == 0 and lane.train[1] > 50 and lanes.opened > 100
    assert lanes.early > 4 and lane.seconds == pytest.approx(-0.06)
    sync = write(Story("ontime01", 3, 2)).rounds.get(number=2)
    on_time = runs.lanes(sync, list(sync.clients.all()), 10)
    assert (on_time.opened, on_time.early) == (0, 0) and all(lane.seconds > 0 for lane in on_time.lanes)


# ---------------------------------------------------------------- names and words
@given(st.lists(st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True), unique=True))
def test_names_have_one_order(names: list[str]) -> None:
    """Numbers in names count as numbers; no two names are alike."""
    ordered = sorted(names, key=natural)
    assert ordered == sorted(set(names), key=natural)
    assert sorted(["c10", "c9", "c1", "c01"], key=natural) == ["c01", "c1", "c9", "c10"]


def test_clients_stand_in_the_order_of_their_numbers(viewer: Client) -> None:
    """In the grid, in the table of clients, in a round's table and on the tape."""
    story = Story("numbered", 12, 3)
    story.clients = [f"site-{number}" for number in range(1, 13)]
    deployment = write(story)
    for path in ("", "clients/", "rounds/2/"):
        page = text(viewer.get(f"/deployments/numbered/{path}"))
        rows = [int(number) for number in re.findall(r'<th scope="row">site-(\d+)', page)]
        assert rows[-12:] == list(range(1, 13)) or rows[:12] == list(range(1, 13)), (path, rows)
    assert next(lines(deployment, ["site-9"], ""))["clients"] == ["site-9"]
    tape = viewer.get("/deployments/numbered/recorder/tape/")
    assert json.loads(b"".join(tape.streaming_content).splitlines()[0])["clients"] == story.clients  # type: ignore[attr-defined]


def test_what_was_not_measured_says_so(viewer: Client) -> None:
    """No dash stands where a figure could be expected."""
    deployment = write(Story("nofigure", 3, 3), finished=False)
    deployment.versions.update(evaluation=None)
    for path in ("/", "/deployments/nofigure/", "/deployments/nofigure/rounds/1/", "/deployments/nofigure/clients/"):
        page = text(viewer.get(path))
        assert "\N{EN DASH}" not in page, path
    assert "not measured" in text(viewer.get("/deployments/nofigure/"))


def test_an_ended_run_is_not_live(viewer: Client) -> None:
    """Nothing more comes of it, so its page does not say that it is live."""
    write(Story("ended001", 2, 2))
    write(Story("open0001", 2, 3), finished=False)
    assert 'id="link-state" data-ended' in text(viewer.get("/deployments/ended001/"))
    assert "data-ended" not in text(viewer.get("/deployments/open0001/"))


def test_an_injection_and_the_list_of_streams_agree(viewer: Client, user: Callable[[str], Any]) -> None:
    """Where an injection has succeeded the list does not claim that no stream was announced: they are on their way."""
    assert "No stream was announced yet" in text(viewer.get("/datasources/"))
    asked = Injection.objects.create(state=InjectionState.RUNNING)
    page = text(viewer.get("/datasources/"))
    assert "No stream was announced yet" not in page and "Streams are being injected" in page
    asked.state, asked.detail = InjectionState.SUCCEEDED, "3 streams of 300 records announced"
    asked.save()
    page = text(viewer.get("/datasources/"))
    assert "No stream was announced yet" not in page and "Streams were announced and are being read" in page
    assert 'hx-select="#streams"' in page
    Injection.objects.update(ended_at=timezone.now() - timedelta(hours=1))
    page = text(viewer.get("/datasources/"))
    assert "No stream was announced yet" not in page and "No stream is here any more" in page


# ---------------------------------------------------------------- the tape
def test_the_tape_holds_the_whole_run_in_letters(viewer: Client) -> None:
    """Every turn is on it, updates and refusals as letters in the order of the clients."""
    deployment = write(Story("taped001", 4, 5), finished=False)
    Refusal.objects.create(deployment=deployment, client="hospital-003", round=2, offset=7, reason="nonfinite")
    deployment.rounds.get(number=2).clients.get(client="hospital-003").delete()
    head, *turns = lines(deployment, [f"hospital-{number:03d}" for number in range(4)], "loss")
    assert head == {"clients": [f"hospital-{number:03d}" for number in range(4)], "every": 1}
    assert [turn["kind"] for turn in turns] == ["opened", "progress", *["round"] * 4, "progress"]
    rounds = [turn for turn in turns if turn["kind"] == "round"]
    assert [turn["cells"] for turn in rounds] == ["aaaa", "aaar", "aaaa", "aaaa"]
    assert rounds[1]["lines"][3] is None and rounds[0]["lines"][0] == pytest.approx(2.3, abs=0.1)
    assert turns[-1]["cells"] == "tttt" and turns[-1]["awaited"] == 4


def test_the_tape_is_thinned_between_rounds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many progress records some are left out, never the last one; every round stays, as a band of the clients."""
    monkeypatch.setattr("backend.runs.charts.tape.WORDS", 5)
    monkeypatch.setattr("backend.runs.charts.tape.LINES", 1)
    story = Story("taped002", 3, 9)
    deployment = write(story, finished=False)
    told = [story.told(record)[0] for record in story.progress(20)]
    projection.take(CLUSTER, [(story.topic_id, record) for record in told])
    deployment = Deployment.objects.get(pk=deployment.pk)
    head, *turns = lines(deployment, story.clients, "loss")
    assert head["every"] > 1 < WORDS
    words = [turn for turn in turns if turn["kind"] == "progress"]
    assert len(words) <= 5 and turns[-1]["kind"] == "progress"
    rounds = [turn for turn in turns if turn["kind"] == "round"]
    assert len(rounds) == 8 and all(low < high for low, high in (turn["band"] for turn in rounds))


def test_a_rollback_is_on_the_tape(viewer: Client) -> None:
    """The undone rounds stay on it, as they happened; the curve of the page holds only those that stand."""
    story = Story("taped003", 2, 9)
    deployment = write(story, finished=False)
    back = successor(
        story.head, RolledBack,
        {"version": 3, "weights": weights(f"{3:064x}"), "snapshot": story.head.snapshot, "command": 1},
    )  # fmt: skip
    assert isinstance(back, RolledBack)
    projection.take(CLUSTER, [(story.topic_id, story.told(back)[0])])
    deployment = Deployment.objects.get(pk=deployment.pk)
    turns = list(lines(deployment, story.clients, "loss"))[1:]
    assert turns[-1] == {"kind": "rolled_back", "at": turns[-1]["at"], "version": 3}
    assert len([turn for turn in turns if turn["kind"] == "round"]) == 8
    assert viewer.get("/deployments/taped003/curves/?metric=loss").json()["rounds"] == [1, 2, 3]


# ---------------------------------------------------------------- what it costs
def test_pages_of_a_long_run_are_light(viewer: Client, django_assert_max_num_queries: Any) -> None:
    """100 clients in more rounds than a page shows: every page is small, and no query is asked for each round."""
    write(Story("heavy001", 100, 60))
    run = "/deployments/heavy001/"
    for path in ("/", run, f"{run}?upto=55", f"{run}curves/", f"{run}recorder/", f"{run}recorder/tape/?metric=loss"):
        with django_assert_max_num_queries(45):
            answer = viewer.get(path)
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
        assert len(gzip.compress(body)) < PAGE_BYTES, path
