"""Pages of a run: who may act on them, events that any web process tells alike, what stands out among updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backend.deployments.examinations import examinations
from backend.deployments.live import stream
from backend.deployments.live.events import events
from backend.deployments.models import ControlRecord, Deployment
from backend.deployments.projection import projection
from backend.gate.places import Places
from backend.runs.pages.compare import differences
from backend.runs.pages.overview import spark
from backend.runs.templatetags import results
from tests.backend.test_projection import CLUSTER, VALUES, records
from tests.vectors.examples import FEDERATION

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

PAGES = ("", "rounds/1/", "versions/", "clients/", "recorder/", "recorder/tape/", "rounds.csv", "curves/")
ACTIONS = ("stop", "resume", "restart", "deadline", "rollback", "remove", "delete")


@pytest.fixture
def told() -> Deployment:
    """The example run, as the logger delivers it."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    return Deployment.objects.get(federation=FEDERATION)


@pytest.fixture
def browser_of(user: Callable[[str], Any]) -> Callable[[str], Client]:
    """A browser session of that role."""

    def opened(role: str) -> Client:
        browser = Client()
        browser.force_login(user(role))
        return browser

    return opened


def test_events_are_the_same_however_they_came(told: Deployment) -> None:
    """A database that is filled again, late record first, tells the same events under the same ids."""
    before = list(events(told, -1))
    assert [number for number, _ in before] == sorted(number for number, _ in before)
    told.delete()
    ControlRecord.objects.all().delete()
    for offset in reversed(range(len(VALUES))):
        projection.take(CLUSTER, records([offset]))
    again = Deployment.objects.get(federation=FEDERATION)
    assert again.refolds and list(events(again, -1)) == before


def test_one_person_has_some_of_the_streams(
    told: Deployment, browser_of: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is for others, however many one opens; a stream that is closed is free again."""
    monkeypatch.setattr(stream, "_places", Places(3, 2))
    viewer, operator, admin = (browser_of(role) for role in ("viewer", "operator", "admin"))
    address = f"/events/?run={FEDERATION}"
    opened = [viewer.get(address) for _ in range(2)]
    more = viewer.get(address)
    assert [one.status_code for one in opened] == [200, 200]
    assert more.status_code == 503 and "You have 2 open already" in more.content.decode()
    assert operator.get(address).status_code == 200
    assert "All 3 are taken" in admin.get(address).content.decode()
    opened[0].close()
    assert viewer.get(address).status_code == 200


def test_events_go_on_after_any_id(told: Deployment) -> None:
    """After an id come exactly the later events; up to an offset exactly the earlier ones."""
    whole = list(events(told, -1))
    for number, _ in whole:
        assert list(events(told, number)) == [event for event in whole if event[0] > number]
        assert list(events(told, -1, number)) == [event for event in whole if event[0] < number]


def test_only_people_with_the_role_act(told: Deployment, browser_of: Callable[[str], Client]) -> None:
    """Viewers change nothing, operators delete nothing, loggers see nothing, and a GET does nothing."""
    viewer, operator, logger = browser_of("viewer"), browser_of("operator"), browser_of("logger")
    for action in ACTIONS:
        address = f"/deployments/{FEDERATION}/act/{action}/"
        assert viewer.post(address).status_code == 403
        assert operator.get(address).url == f"/deployments/{FEDERATION}/"  # type: ignore[attr-defined]
    assert viewer.post(f"/deployments/{FEDERATION}/rounds/1/examine/").status_code == 403
    assert operator.post(f"/deployments/{FEDERATION}/act/delete/", {"confirm": FEDERATION}).status_code == 403
    assert operator.post(f"/deployments/{FEDERATION}/act/nonsense/").status_code == 404
    for page in PAGES:
        assert logger.get(f"/deployments/{FEDERATION}/{page}").status_code == 403
    assert logger.get(f"/events/?run={FEDERATION}").status_code == 403
    assert Deployment.objects.filter(federation=FEDERATION).exists()


def test_an_action_that_cannot_be_done_says_why(told: Deployment, browser_of: Callable[[str], Client]) -> None:
    """The sentence of the service stands on the page that the person comes back to."""
    operator = browser_of("operator")
    answer = operator.post(f"/deployments/{FEDERATION}/act/stop/", follow=True)
    assert "cannot be stopped" in answer.content.decode()
    answer = operator.post(f"/deployments/{FEDERATION}/act/deadline/", {"round_deadline": "soon"}, follow=True)
    assert "number" in answer.content.decode()
    answer = operator.post(f"/deployments/{FEDERATION}/act/rollback/", {"version": "77"}, follow=True)
    assert "There is no version 77" in answer.content.decode()


def test_a_round_s_page_tells_its_learning_rate(told: Deployment, browser_of: Callable[[str], Client]) -> None:
    """As every client computed it; nothing where it is the optimizer's own, or a schedule is not known here."""
    viewer, path = browser_of("viewer"), f"/deployments/{FEDERATION}/rounds/1/"
    schedule = {"name": "exponential", "params": {"warmup": 1}}
    for training, shown in (
        ({"learning_rate": 0.3, "learning_rate_schedule": schedule}, "<dd>0.15 <small>exponential</small>"),
        ({"learning_rate": 0.3}, "<dd>0.3 <small>constant</small>"),
        ({}, ""),
        ({"learning_rate": 0.3, "learning_rate_schedule": {"name": "newer"}}, ""),
    ):
        Deployment.objects.filter(pk=told.pk).update(training=training)
        page = viewer.get(path).content.decode()
        assert shown in page and ("Learning rate" in page) == bool(shown)


def test_names_are_text(told: Deployment, browser_of: Callable[[str], Client]) -> None:
    """Markup in a name that the log brings is shown, never obeyed."""
    evil = "<script>alert(1)</script>"
    Deployment.objects.filter(pk=told.pk).update(name=evil, detail=evil)
    viewer = browser_of("viewer")
    for path in ("/", "/deployments/", f"/compare/?run={FEDERATION}", f"/deployments/{FEDERATION}/"):
        page = viewer.get(path).content.decode()
        assert evil not in page and "&lt;script&gt;" in page


def test_what_stands_out() -> None:
    """Far steps and steps the other way are marked; few or equal steps are not."""
    plain = [{"offset": n, "norm": 1.0 + n / 100, "cosine": 0.9} for n in range(9)]
    assert examinations.outliers(plain) == set()
    assert examinations.outliers([*plain, {"offset": 50, "norm": 40.0, "cosine": 0.9}]) == {50}
    assert examinations.outliers([*plain, {"offset": 51, "norm": 1.0, "cosine": -0.2}]) == {51}
    few = [{"offset": 1, "norm": 1.0, "cosine": 0.5}, {"offset": 2, "norm": 90.0, "cosine": 0.5}]
    assert examinations.outliers(few) == set()
    assert examinations.outliers([{"offset": 1, "norm": None, "cosine": None}]) == set()


def test_a_line_needs_two_points() -> None:
    """A sparkline spans its drawing, lowest value at the bottom."""
    assert spark([(1, 0.5)]) == ""
    assert spark([(1, 0.0), (2, 1.0)]) == "0.0,22.0 100.0,2.0"
    assert spark([(1, 1.0), (2, 1.0)]).count(",") == 2


def test_differences_come_first(told: Deployment) -> None:
    """Settings that differ between runs stand before those that do not, by their path."""
    training = told.training | {"epochs": 99}
    other = Deployment(federation="zzzzzzz1", training=training, strategy=told.strategy, rules=told.rules)
    lines = differences([told, other])
    assert ("training.epochs", [str(told.training["epochs"]), "99"], True) in lines
    assert [differs for _, _, differs in lines] == sorted((differs for _, _, differs in lines), reverse=True)


def test_a_strategy_made_by_hand_is_told_by_its_choices() -> None:
    """A name says what it is; `custom` alone would not."""
    params = {"weigh": "equal", "bound": "clip", "clip_norm": 2.0, "fold": "krum", "server": "adam"}
    assert results.strategy({"name": "custom", "params": params}) == "custom: equal, clip, krum, adam, plain"
    assert results.strategy({"name": "custom"}) == "custom: examples, none, mean, replace, plain"
    assert [results.strategy(s) for s in ({"name": "krum"}, {"name": "newer"}, {}, None)] == ["krum", "newer", "?", "?"]
