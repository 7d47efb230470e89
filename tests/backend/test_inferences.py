"""Deployed versions: REST, the reconciler over a fleet that only remembers, and the pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.deployments.log import kafka
from backend.deployments.models import Deployment, State
from backend.inference import pages, serving_api
from backend.inference.models import Inference, ServingState
from backend.inference.replicas import ServingReconciler, serving_spec
from backend.launchers.options import Options
from backend.launchers.replicas import FleetStanding
from mainstem.errors import LaunchRefused, LogError
from mainstem.protocol.topics import data_topic
from mainstem.serving.spec import ServingSpec
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import XSS, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

CONFIG = {"data_type": "float32", "data_reshape": "4"}
TYPED = {
    "name": "right", "replicas": "2", "input_topic": "ask", "output_topic": "told", "partitions": "4",
    "input_format": "RAW", "input_config": '{"data_type": "float32", "data_reshape": "4"}', "answers": "outputs",
    "delivery": "exactly-once",
}  # fmt: skip
TRAFFIC = {"members": 1, "answered": 12, "refused": 3, "lag": 4, "partitions": []}


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kafka that is told to replicas, and one that answers what it is asked."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", "cloud:9092")
    monkeypatch.setattr(pages, "traffic", lambda inference: TRAFFIC)
    monkeypatch.setattr(serving_api, "traffic", lambda inference: TRAFFIC)


class Remembering:
    """A fleet that runs nothing: it says what it is told to say."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[ServingSpec, int]] = {}
        self.standing = FleetStanding()
        self.refusing = ""
        self.slow = False

    def refresh(self) -> None:
        """Nothing to look at."""

    def bring(self, spec: ServingSpec, replicas: int, job: Mapping[str, Any] | None = None) -> FleetStanding:
        if self.refusing:
            raise LaunchRefused(self.refusing)
        self.asked[spec.name] = (spec, replicas)
        return self.standing

    def end(self, name: str) -> bool:
        if self.slow:
            return False
        self.asked.pop(name, None)
        return True

    def sweep(self, names: Collection[str]) -> None:
        for name in set(self.asked) - set(names):
            del self.asked[name]

    def log(self, name: str, tail: int = 65536) -> str:
        return ""


@pytest.fixture
def fleet() -> Remembering:
    """What would run."""
    return Remembering()


@pytest.fixture
def tick(fleet: Remembering, log: MemoryLog) -> Callable[[], list[str]]:
    """One step of the reconciler; the groups that it has forgotten so far."""
    forgotten: list[str] = []
    reconciler = ServingReconciler(fleet, Options.from_environ(), lambda: log, forgotten.append)

    def step() -> list[str]:
        reconciler.tick()
        return forgotten

    return step


def deploy(client: APIClient, federation: str, **more: Any) -> Any:
    return client.post("/api/inferences/", {"federation": federation, "version": 0, **more})


# ---------------------------------------------------------------- REST
def test_a_version_is_deployed_with_defaults(client_of: Callable[[str | None], APIClient], federation: str) -> None:
    """Names, topics and format have defaults; a viewer reads them."""
    answer = deploy(client_of("operator"), federation)
    assert answer.status_code == 201, answer.content
    found = client_of("viewer").get(f"/api/inferences/{federation}-v0/").json()
    assert found == answer.json()
    assert (found["input_topic"], found["output_topic"]) == (f"{federation}-v0-in", f"{federation}-v0-out")
    assert found["input_config"] == CONFIG and found["input_format"] == "RAW" and found["created_by"] == "the-operator"
    assert (found["state"], found["replicas"], found["ready"]) == ("starting", 1, 0)
    assert found["sha256"] == Deployment.objects.get().versions.get().sha256
    assert client_of("viewer").get(f"/api/inferences/{federation}-v0/traffic/").json()["answered"] == 12
    assert client_of("viewer").get(f"/api/inferences/{federation}-v0/log/").status_code == 200


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"federation": "zzzzzzzz"}, "federation"),
        ({"version": 7}, "version"),
        ({"version": -1}, "version"),
        ({"name": "Big Letters"}, "name"),
        ({"name": XSS}, "name"),
        ({"replicas": 33}, "replicas"),
        ({"answers": "pickle"}, "answers"),
        ({"delivery": "at-most-once"}, "delivery"),
        ({"replicas": "many"}, "replicas"),
        ({"input_topic": "a b"}, "input_topic"),
        ({"input_topic": "FEDERATED_DATA_CONTROL_TOPIC"}, "input_topic"),
        ({"input_topic": "same", "output_topic": "same"}, "output_topic"),
        ({"output_topic": "FEDERATED_AGGREGATOR_TOPIC-ddy6heod"}, "output_topic"),
        ({"output_topic": "x" * 260}, "output_topic"),
        ({"input_format": "XML"}, "input_format"),
        ({"input_config": "text"}, "input_config"),
        ({"input_config": {"data_type": "float32", "data_reshape": "5"}}, "input_config"),
        ({"input_config": {}}, "input_config"),
        ({"partitions": 0}, "partitions"),
    ],
)
def test_wrong_wishes_name_their_field(admin: APIClient, federation: str, more: dict[str, Any], field: str) -> None:
    """Each wrong value is refused with a sentence at its field, and nothing is made."""
    answer = admin.post("/api/inferences/", {"federation": federation, "version": 0} | more)
    assert answer.status_code == 400, answer.content
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Inference.objects.exists()


def test_the_form_and_delivery_of_answers_reach_the_replicas(
    admin: APIClient, federation: str, browser: Callable[[str], Client]
) -> None:
    """Kafka-ML's form without transactions, where it is asked for; the pages say so."""
    plain = deploy(admin, federation).json()
    assert (plain["answers"], plain["delivery"]) == ("outputs", "exactly-once")
    asked = {"name": "theirs", "answers": "values", "delivery": "at-least-once"}
    assert deploy(admin, federation, **asked).status_code == 201
    spec = serving_spec(Inference.objects.get(name="theirs"), Options.from_environ())
    environ = spec.to_environ()
    assert (environ["ANSWER_FORM"], environ["ANSWER_DELIVERY"]) == ("values", "at-least-once")
    assert "values, at-least-once" in text(browser("viewer").get("/inference/theirs/"))
    page = browser("operator")
    preview = page.post(f"/inference/deploy/{federation}/0/preview/", TYPED | {"delivery": "at-least-once"})
    assert "after a kill an answer may come twice" in text(preview)
    assert "take the ends of transactions for messages" in text(page.get(f"/inference/deploy/{federation}/0/"))


def test_names_are_given_once(admin: APIClient, federation: str) -> None:
    """A second one of a name is refused; another name is free."""
    deploy(admin, federation)
    answer = deploy(admin, federation)
    assert answer.status_code == 409 and answer.json()["errors"][0]["field"] == "name"
    assert deploy(admin, federation, name="another").json()["input_topic"] == "another-in"


def test_answers_never_become_questions(admin: APIClient, federation: str) -> None:
    """A chain of deployed versions is fine; one that bites its tail is refused."""
    assert deploy(admin, federation, name="one", input_topic="a", output_topic="b").status_code == 201
    assert deploy(admin, federation, name="two", input_topic="b", output_topic="c").status_code == 201
    answer = deploy(admin, federation, name="three", input_topic="c", output_topic="a")
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "output_topic"
    assert deploy(admin, federation, name="three", input_topic="c", output_topic="d").status_code == 201


def test_weights_that_are_gone_are_not_deployed(admin: APIClient, federation: str, log: MemoryLog) -> None:
    """Pruned chunks are a 410 before anything is made."""
    topic = data_topic(federation)
    log.delete_records(topic, 0, log.bounds(topic, 0)[1])
    assert deploy(admin, federation).status_code == 410 and not Inference.objects.exists()


def test_kafka_away(admin: APIClient, federation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Kafka the answer is a 503, and nothing is made."""

    def away() -> None:
        raise LogError("the broker does not answer")

    monkeypatch.setattr(kafka, "message_log", away)
    assert deploy(admin, federation).status_code == 503 and not Inference.objects.exists()


def test_scaling_and_ending(client_of: Callable[[str | None], APIClient], federation: str) -> None:
    """An operator scales, down to none; an admin ends; what ends is scaled no more."""
    operator, path = client_of("operator"), f"/api/inferences/{federation}-v0/"
    deploy(operator, federation)
    assert operator.patch(path, {"replicas": 3}).json()["replicas"] == 3
    assert operator.patch(path, {"replicas": 0}).json()["state"] == "stopped"
    assert operator.patch(path, {"replicas": -1}).status_code == 400
    assert operator.delete(path).status_code == 403
    assert client_of("admin").delete(path).json()["state"] == "ending"
    assert operator.patch(path, {"replicas": 1}).status_code == 409


# ---------------------------------------------------------------- the reconciler
def test_replicas_are_brought_and_their_standing_is_written(
    admin: APIClient, federation: str, fleet: Remembering, tick: Callable[[], list[str]], log: MemoryLog
) -> None:
    """Topics first, then the replicas, with the pinned hash; the row says how they stand."""
    deploy(admin, federation, replicas=2, partitions=3)
    tick()
    spec, replicas = fleet.asked[f"{federation}-v0"]
    row = Inference.objects.get()
    assert replicas == 2 and spec.sha256 == row.sha256 and spec.cloud_bootstrap == "cloud:9092"
    assert log.partitions(row.input_topic) == 3 and log.partitions(row.output_topic) == 3
    for standing, state in (
        (FleetStanding(1), "starting"),
        (FleetStanding(2), "running"),
        (FleetStanding(1, "replica 0: killed by SIGKILL"), "failing"),
        (FleetStanding(2), "running"),
    ):
        fleet.standing = standing
        tick()
        row.refresh_from_db()
        assert (row.state, row.ready, row.detail) == (state, standing.ready, standing.problem)
    fleet.refusing = "no room"
    tick()
    row.refresh_from_db()
    assert (row.state, row.detail) == ("failing", "no room")


def test_what_is_ended_goes_with_its_group(
    admin: APIClient, federation: str, fleet: Remembering, tick: Callable[[], list[str]]
) -> None:
    """The row goes once no replica is left; the group is forgotten, so that the name begins anew."""
    deploy(admin, federation)
    tick()
    admin.delete(f"/api/inferences/{federation}-v0/")
    fleet.slow = True
    assert tick() == [] and Inference.objects.get().state == ServingState.ENDING
    fleet.slow = False
    assert tick() == [f"mainstem-inference-{federation}-v0"]
    assert not Inference.objects.exists() and fleet.asked == {}


@pytest.mark.parametrize("gone", [True, False])
def test_a_deleted_federation_takes_its_replicas_along(
    admin: APIClient, federation: str, fleet: Remembering, tick: Callable[[], list[str]], gone: bool
) -> None:
    """While it is deleted, and when its row is gone."""
    deploy(admin, federation)
    tick()
    destroyed = admin.get(f"/api/deployments/{federation}/destroys/").json()
    assert destroyed["inferences"] == [f"{federation}-v0"]
    if gone:
        Deployment.objects.all().delete()
    else:
        Deployment.objects.update(state=State.DELETING)
    tick()
    assert not Inference.objects.exists() and fleet.asked == {}


# ---------------------------------------------------------------- pages
@pytest.fixture
def browser(user: Callable[[str], Any]) -> Callable[[str], Client]:
    """A browser of a role."""
    made: dict[str, Client] = {}

    def of(role: str) -> Client:
        if role not in made:
            made[role] = logged_in(User.objects.filter(username=f"the-{role}").first() or user(role))
        return made[role]

    return of


def test_the_list_says_what_to_do_and_what_is_there(
    admin: APIClient, federation: str, browser: Callable[[str], Client]
) -> None:
    """Empty it explains; then the rows, also alone for htmx; runs with versions are offered."""
    viewer = browser("viewer")
    assert "No version is deployed" in text(viewer.get("/inference/"))
    deploy(admin, federation)
    Deployment.objects.update(version=1)
    shown = text(viewer.get("/inference/"))
    assert f"{federation}-v0-in" in shown and f"/inference/try/{federation}/1/" in shown
    assert f"/inference/deploy/{federation}/1/" not in shown
    assert "<html" not in text(viewer.get("/inference/", headers={"hx-request": "true"}))
    assert "No deployed version is failing" in text(viewer.get("/inference/?state=failing"))


def test_the_form_deploys_and_keeps_what_was_typed(
    federation: str, browser: Callable[[str], Client], log: MemoryLog
) -> None:
    """Defaults are there, wrong values come back with a sentence, right ones lead to the page."""
    operator, path = browser("operator"), f"/inference/deploy/{federation}/0/"
    page = text(operator.get(path))
    assert f"{federation}-v0-in" in page and "federated-serving" in page
    typed = TYPED | {"name": "Wrong Name"}
    again = operator.post(path, typed)
    assert again.status_code == 400 and "Wrong Name" in text(again) and "1 to 40 characters" in text(again)
    wrong = typed | {"name": "right", "input_config": "{"}
    checked = operator.post(f"{path}preview/", wrong, headers={"hx-request": "true"})
    assert "not JSON" in text(checked) and not Inference.objects.exists()
    made = operator.post(path, typed | {"name": "right"})
    assert made.status_code == 302 and made["Location"] == "/inference/right/"
    page = text(operator.get("/inference/right/"))
    assert "12" in page and "3 of them refused" in page and "try-canvas" not in page and "try-values" in page
    assert "Scale" in page and "End it" not in page
    assert operator.post("/inference/right/scale/", {"replicas": "5"}).status_code == 302
    assert Inference.objects.get().replicas == 5
    operator.post("/inference/right/scale/", {"replicas": "x"})
    assert Inference.objects.get().replicas == 5
    assert operator.post("/inference/right/end/").status_code == 403


def test_roles_on_the_pages(federation: str, browser: Callable[[str], Client], admin: APIClient) -> None:
    """A viewer sees and may not act; an admin ends, told what that destroys."""
    deploy(admin, federation)
    viewer, path = browser("viewer"), f"/inference/{federation}-v0/"
    assert "needs the role of an operator" in text(viewer.get(path))
    assert viewer.get(f"/inference/deploy/{federation}/0/").status_code == 403
    assert viewer.post(f"{path}scale/", {"replicas": "1"}).status_code == 403
    boss = browser("admin")
    assert "This destroys" in text(boss.get(path))
    assert boss.post(f"{path}end/").status_code == 302
    assert Inference.objects.get().state == ServingState.ENDING
    for missing in ("/inference/nothing/", f"/inference/try/{federation}/9/", "/inference/try/zzzzzzzz/0/"):
        assert boss.get(missing).status_code == 404


def test_pictures_are_drawn(federation: str, browser: Callable[[str], Client]) -> None:
    """An input that looks like a picture has a sheet to draw on, any other a box for JSON."""
    viewer = browser("operator")
    path = f"/inference/try/{federation}/0/"
    for shape, drawn in (([4], False), ([784], True), ([8, 8, 1], True), ([28, 28], True), ([32, 32, 3], True)):
        Deployment.objects.update(input={"shape": shape, "dtype": "float32"})
        page = text(viewer.get(path))
        assert ("try-canvas" in page) is drawn and "try-values" in page
    assert viewer.get(f"/inference/sample/{federation}/").status_code == 404
