"""FederatedDeployments: from spec to REST and back, whatever happens in between; without a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mainstem.operator import mapping, reconcile
from mainstem.operator.reconcile import Away, Refused, Resource
from mainstem.rest import ApiError
from mainstem.rounds.parameters import PARAMETERS

COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "operator"
NOW = "2026-11-24T12:00:00Z"
Event = tuple[str, str, str]


class FakeApi:
    """Deployments, models and configurations in memory; it answers as the API does. `down` makes it fail."""

    def __init__(self) -> None:
        self.deployments: dict[str, dict[str, Any]] = {}
        self.models = [{"id": 7, "name": "digits"}]
        self.configurations: list[dict[str, Any]] = []
        self.used: set[str] = set()
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.refuses: str | None = None
        self.down: ApiError | None = None
        self.measured: dict[str, Any] | None = None

    def get(self, path: str, **params: Any) -> Any:
        """GET."""
        self._fail()
        if path == "models/":
            return {"results": [m for m in self.models if m["name"] == params["name"]]}
        if path == "configurations/":
            return {"results": [c for c in self.configurations if c["name"] == params["name"]]}
        if path.startswith("results/"):
            return {"evaluation": self.measured}
        found = self.deployments.get(path.split("/")[1])
        if found is None:
            raise ApiError("the backend refused (404): no such deployment", 404)
        return found

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST."""
        self._fail()
        self.posted.append((path, dict(body or {})))
        if path == "configurations/":
            self.configurations.append({"id": 11, **(body or {})})
            return self.configurations[-1]
        if path != "deployments/":
            return self._command(path, body or {})
        assert body is not None
        if self.refuses:
            raise ApiError(f"the backend refused (400): {self.refuses}", 400)
        if body["federation"] in self.used:
            raise ApiError("the backend refused (409): federation: ids are never reused", 409)
        self.used.add(body["federation"])
        self.deployments[body["federation"]] = {
            "federation": body["federation"], "name": body["name"], "state": "opening", "round": 0,
            "rounds": body.get("rounds", 5), "version": 0, "sha256": "", "members": [], "waits_for": [],
            "detail": "", "error": "", "evaluation": None, "pending": ["open"], "created_at": "2026-11-24T11:00:00.5Z",
            "rules": {"deadline_ms": round(body.get("round_deadline", 600) * 1000)},
        }  # fmt: skip
        return self.deployments[body["federation"]]

    def delete(self, path: str, **params: Any) -> None:
        """DELETE."""
        self._fail()
        federation = path.split("/")[1]
        assert params == {"confirm": federation}
        self.deployments[federation]["state"] = "deleting"

    def _command(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        deployment = self.deployments[path.split("/")[1]]
        if path.endswith("/stop/"):
            deployment["state"] = "stopped"
        if path.endswith("/resume/"):
            deployment["state"] = "running"
        if path.endswith("/deadline/"):
            deployment["rules"]["deadline_ms"] = round(body["round_deadline"] * 1000)
        return deployment

    def _fail(self) -> None:
        if self.down is not None:
            raise self.down


class Cluster:
    """One resource, its status as the controller leaves it, and what it said."""

    def __init__(self, api: FakeApi, **spec: Any) -> None:
        self.api, self.spec, self.status = api, spec, dict[str, Any]()
        self.events: list[Event] = []
        self.uid = "0b8e1e0c-0000-4000-8000-000000000001"

    @property
    def resource(self) -> Resource:
        """As the API server shows it."""
        return Resource("kafkaml", "digits", self.uid, "2026-11-24T10:59:59Z", 1, self.spec, self.status)

    def look(self) -> dict[str, Any]:
        """One look, remembered."""
        self.status = reconcile.look(self.api, self.resource, NOW, lambda *event: self.events.append(event))
        return self.status

    def remove(self) -> str | None:
        """One try to end it."""
        return reconcile.remove(self.api, self.resource, lambda *event: self.events.append(event))

    def condition(self, kind: str) -> dict[str, Any]:
        """One of the conditions."""
        return next(known for known in self.status["conditions"] if known["type"] == kind)


@pytest.fixture
def cluster() -> Cluster:
    """A resource that names a model."""
    return Cluster(FakeApi(), model="digits", rounds=3, min_clients=2, strategy={"name": "fedavg"})


@given(st.uuids())
def test_a_federation_id_follows_from_the_uid(uid: Any) -> None:
    """It is one that the protocol takes, and always the same."""
    made = mapping.federation_of(str(uid), {})
    assert re.fullmatch("[a-z0-9]{8}", made) and made == mapping.federation_of(str(uid), {"federation": ""})


def test_a_resource_opens_a_federation_once(cluster: Cluster) -> None:
    """Names become numbers, a configuration of the one model is made, and later looks create nothing."""
    status = cluster.look()
    assert cluster.api.posted[0][1]["models"] == [7]
    body = cluster.api.posted[1][1]
    assert body == {
        "rounds": 3, "min_clients": 2, "strategy": {"name": "fedavg"}, "model": 7, "configuration": 11,
        "name": "kafkaml/digits", "federation": mapping.federation_of(cluster.uid, {}),
    }  # fmt: skip
    assert (status["phase"], status["progress"], status["federation"]) == ("Opening", "0/3", body["federation"])
    cluster.look()
    assert len(cluster.api.posted) == 2 and [event[1] for event in cluster.events] == ["Created", "Opening"]
    assert cluster.condition("Synced")["status"] == cluster.condition("SpecAccepted")["status"] == "True"


def test_a_controller_that_died_after_creating_finds_its_work(cluster: Cluster) -> None:
    """With the status lost, the same federation is taken up, and none is made."""
    before = cluster.look()["federation"]
    cluster.status = {}
    assert cluster.look()["federation"] == before and len(cluster.api.deployments) == 1


def test_the_columns_tell_what_the_api_tells(cluster: Cluster) -> None:
    """Round, clients, accuracy of the newest measured version, phase, whom it waits for."""
    federation = cluster.look()["federation"]
    cluster.api.measured = {"examples": 50, "values": {"accuracy": 0.912345, "loss": 0.5}}
    cluster.api.deployments[federation] |= {
        "state": "running", "round": 2, "version": 2, "pending": [], "waits_for": ["a"],
        "members": [{"state": "training"}, {"state": "accepted"}, {"state": "left"}],
    }  # fmt: skip
    status = cluster.look()
    shown = [status[key] for key in ("phase", "progress", "clients", "accuracy", "waits_for")]
    assert shown == ["Running", "2/3", 2, "0.9123", ["a"]]
    assert cluster.condition("Finished")["status"] == "False"
    final = {"examples": 50, "values": {"accuracy": 0.98}}
    cluster.api.deployments[federation] |= {"state": "finished", "round": 3, "version": 3, "evaluation": final}
    status = cluster.look()
    assert status["accuracy"] == "0.9800" and cluster.condition("Finished")["status"] == "True"
    assert status["clients"] == 3, "after the end all who took part count"


def test_what_the_api_refuses_stands_in_the_condition_and_is_said_once(cluster: Cluster) -> None:
    """The API's sentence appears in status and one event; a mended spec opens the federation."""
    cluster.api.refuses = "max_clients: it must be at least min_clients."
    for _ in range(3):
        status = cluster.look()
    assert status["phase"] == "Refused" and "max_clients" in status["message"]
    assert "max_clients" in cluster.condition("Synced")["message"]
    assert [event[:2] for event in cluster.events] == [("Warning", "Refused")]
    cluster.api.refuses, cluster.spec["max_clients"] = None, 5
    assert cluster.look()["phase"] == "Opening"


@pytest.mark.parametrize("spec", [{"model": "nothing"}, {"configuration": "nothing"}, {"rounds": 3}])
def test_a_name_that_nothing_has_is_refused_by_field(spec: dict[str, Any]) -> None:
    """The sentence names the field."""
    cluster = Cluster(FakeApi(), **spec)
    assert cluster.look()["phase"] == "Refused"
    assert cluster.status["message"].startswith(next(iter(spec)) if "rounds" not in spec else "model")


@pytest.mark.parametrize("status", [None, 503, 401, 403, 429])
def test_an_api_that_is_away_changes_nothing(cluster: Cluster, status: int | None) -> None:
    """Before the opening the phase is Pending; later what was known stays, and the condition tells."""
    cluster.api.down = ApiError("the backend does not answer", status)
    assert cluster.look()["phase"] == "Pending" and cluster.condition("Synced")["reason"] == "Away"
    cluster.api.down = None
    federation = cluster.look()["federation"]
    cluster.api.deployments[federation]["state"] = "running"
    cluster.look()
    cluster.api.down = ApiError("the backend does not answer", status)
    assert cluster.look()["phase"] == "Running" and cluster.condition("Synced")["status"] == "False"


def test_changes_of_an_open_federation_are_sent_or_explained(cluster: Cluster) -> None:
    """A deadline goes to the API once; rounds are refused by name until the old value is back."""
    federation = cluster.look()["federation"]
    cluster.api.deployments[federation] |= {"state": "running", "pending": []}
    cluster.spec |= {"round_deadline": 120, "rounds": 9}
    cluster.look()
    cluster.look()
    assert [path for path, _ in cluster.api.posted if "deadline" in path] == [f"deployments/{federation}/deadline/"]
    refused = cluster.condition("SpecAccepted")
    assert refused["status"] == "False" and refused["message"].startswith("rounds cannot change")
    assert [event[1] for event in cluster.events].count("Immutable") == 1
    cluster.spec["rounds"] = 3
    cluster.look()
    assert cluster.condition("SpecAccepted")["status"] == "True"
    assert cluster.status["applied"]["round_deadline"] == 120


def test_stopped_pauses_and_resumes(cluster: Cluster) -> None:
    """`stopped` is carried out when it changes; what a person does through the API in between stands."""
    federation = cluster.look()["federation"]
    deployment = cluster.api.deployments[federation]
    deployment |= {"state": "running", "pending": []}
    cluster.spec["stopped"] = True
    cluster.look()
    assert cluster.look()["phase"] == "Stopped"
    deployment["state"] = "running"  # resumed through the UI
    assert cluster.look()["phase"] == "Running"
    deployment["state"] = "stopped"
    cluster.spec["stopped"] = False
    cluster.look()
    assert deployment["state"] == "running"
    deployment["state"] = "stopped"  # stopped through the UI
    assert cluster.look()["phase"] == "Stopped"
    assert [path.split("/")[2] for path, _ in cluster.api.posted[2:]] == ["stop", "resume"]


def test_the_end_waits_until_kafka_has_it(cluster: Cluster) -> None:
    """The deployment is deleted with its confirmation; the resource goes when the API no longer knows it."""
    federation = cluster.look()["federation"]
    waits = cluster.remove()
    assert waits is not None and federation in waits
    assert cluster.api.deployments[federation]["state"] == "deleting" and cluster.remove() is not None
    del cluster.api.deployments[federation]
    assert cluster.remove() is None


def test_keep_stops_the_run_only(cluster: Cluster) -> None:
    """With `on_delete: keep` the results stay."""
    cluster.spec["on_delete"] = "keep"
    federation = cluster.look()["federation"]
    cluster.api.deployments[federation] |= {"state": "running", "pending": []}
    assert cluster.remove() is None and cluster.api.deployments[federation]["state"] == "stopped"


def test_a_refused_end_is_an_error(cluster: Cluster) -> None:
    """A token without the right to delete is told to whoever asked."""
    cluster.look()
    cluster.api.down = ApiError("the backend refused (403): your role may not delete", 403)
    with pytest.raises(Away, match="403"):
        cluster.remove()


def test_the_deployment_of_another_is_left_alone() -> None:
    """A fixed id that someone else uses is refused, and the resource's end does not touch it."""
    cluster = Cluster(FakeApi(), model="digits", federation="ddy6heod")
    cluster.api.post("deployments/", {"federation": "ddy6heod", "name": "someone's", "configuration": 1})
    assert cluster.look()["phase"] == "Refused" and "ddy6heod" in cluster.status["message"]
    assert cluster.remove() is None and cluster.api.deployments["ddy6heod"]["state"] == "opening"


def test_an_older_deployment_of_the_same_name_is_not_taken(cluster: Cluster) -> None:
    """A resource that was deleted and applied anew does not take over its predecessor's run."""
    cluster.spec["federation"] = "ddy6heod"
    cluster.look()
    cluster.api.deployments["ddy6heod"]["created_at"] = "2026-11-24T09:00:00Z"
    cluster.status = {}
    assert cluster.look()["phase"] == "Refused"


def test_a_deployment_that_was_deleted_elsewhere_is_not_made_again(cluster: Cluster) -> None:
    """The phase says so; nothing is trained anew behind anyone's back."""
    federation = cluster.look()["federation"]
    del cluster.api.deployments[federation]
    assert cluster.look()["phase"] == "Gone" and len(cluster.api.posted) == 2
    assert cluster.events[-1][1] == "Gone"


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    """The transition's time is that of the status' change, not of its words'."""
    first = mapping.condition("Synced", True, "Synced", "a", "t1", [], 1)
    second = mapping.condition("Synced", True, "Synced", "b", "t2", [first], 2)
    assert (second["lastTransitionTime"], second["message"]) == ("t1", "b")
    assert mapping.condition("Synced", False, "Away", "c", "t3", [second], 2)["lastTransitionTime"] == "t3"


def test_refusals_and_absences_differ() -> None:
    """What only another spec mends is no matter of waiting."""
    assert not issubclass(Refused, Away) and not issubclass(Away, Refused)


def test_the_definition_has_the_fields_of_the_api() -> None:
    """`spec` takes what POST /api/deployments/ takes, under the same names, and the controller's own fields."""
    crd = yaml.safe_load((COMPONENT / "crd.yaml").read_text())
    fields = set(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])
    assert fields - mapping.OWN_FIELDS == {*PARAMETERS, "federation", "federated", "check", "job", "admission", "sites"}
    assert fields >= mapping.CHANGEABLE
    example = yaml.safe_load((COMPONENT / "example.yaml").read_text())
    assert set(example["spec"]) <= fields
    assert crd["spec"]["group"] == mapping.GROUP and crd["spec"]["names"]["plural"] == mapping.PLURAL
