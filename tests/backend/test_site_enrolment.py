"""Sites: a token makes one once, a run names whom it admits, a revoked one is admitted by none that is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.audit.models import AuditEntry
from backend.catalog.models import Configuration
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, OutboxEntry, State
from backend.launchers.jobs import matching
from backend.sites import admission, own
from backend.sites.models import Enrolment, Site
from backend.streams.models import DataSource
from mainstem.errors import ConfigError
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.enrolment import proof_of
from mainstem.protocol.messages import Admission
from mainstem.protocol.signing import SigningKey
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

Clients = Callable[[str | None], APIClient]


def token_for(client: APIClient, name: str, **more: Any) -> str:
    """A new token's text."""
    answer = client.post("/api/sites/tokens/", {"name": name, **more})
    assert answer.status_code == 201, answer.json()
    return str(answer.json()["token"])


def enrol(asked: str, by: SigningKey, **more: Any) -> Any:
    """What a site asks for with a token and its key; the answer."""
    body = {"token": asked, "key": by.public, "proof": proof_of(by, asked), **more}
    return APIClient().post("/api/sites/enrol/", body)


def site(name: str, **more: Any) -> Site:
    """One that is enrolled."""
    return Site.objects.create(name=name, key=SigningKey.generate().public, **more)


# ---------------------------------------------------------------- enrolment
def test_a_site_is_enrolled_by_a_token_once(client_of: Clients) -> None:
    """The token's text is in one answer and nowhere else; the site has the key that it made, its maker owns it."""
    operator, key = client_of("operator"), SigningKey.generate()
    token = token_for(operator, "north", valid_until="2099-01-01T00:00:00Z")
    assert token not in str(list(Enrolment.objects.values())) + operator.get("/api/sites/tokens/").content.decode()
    answer = enrol(token, key, name="north")
    assert answer.status_code == 201
    told = {"name": "north", "key": key.public, "valid_until": "2099-01-01T00:00:00Z", "platform": None}
    assert answer.json() == told
    again = enrol(token, key)
    assert (again.status_code, again.json()) == (200, told), "the first answer may have been lost"
    other = enrol(token, SigningKey.generate())
    assert other.status_code == 400 and "was used at" in other.json()["errors"][0]["message"]
    (row,) = operator.get("/api/sites/").json()["results"]
    assert (row["name"], row["standing"], row["owners"], row["own"]) == ("north", "enrolled", ["the-operator"], False)
    recorded = list(AuditEntry.objects.order_by("id").values_list("who", "by", "action", "name", "result"))
    assert recorded == [
        ("the-operator", "token", "enrolment.create", "north", "done"),
        ("site north", "token", "site.enrol", "north", "done"),
        ("", "token", "enrolment.fail", "", "failed"),
    ]
    assert token not in str(list(AuditEntry.objects.values()))


def test_what_no_token_enrols(client_of: Clients) -> None:
    """Each refusal has its sentence, and uses nothing up."""
    operator, key = client_of("operator"), SigningKey.generate()
    token = token_for(operator, "north")
    other = SigningKey.generate()
    for body, field, sentence in (
        ({"token": "guessed"}, "token", "is not known"),
        ({"proof": proof_of(other, token)}, "proof", "nobody enrols the key of another"),
        ({"key": other.public}, "proof", "nobody enrols the key of another"),
        ({"proof": "no proof at all"}, "proof", "nobody enrols the key of another"),
        ({"key": "short"}, "key", "43 characters of base64url"),
        ({"name": "south"}, "name", "This token is for the site north"),
        ({"name": "a b"}, "name", "at most 64"),
    ):
        answer = enrol(token, key, **body)
        (error,) = answer.json()["errors"]
        assert answer.status_code in (400, 409) and error["field"] == field and sentence in error["message"], body
    Enrolment.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "expired at" in enrol(token, key).json()["errors"][0]["message"]
    assert not Site.objects.exists() and Enrolment.objects.get().used_at is None
    Enrolment.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    assert enrol(token, key).status_code == 201


def test_a_name_and_a_key_are_of_one_site_for_ever(client_of: Clients) -> None:
    """Also after it was revoked, and in whatever case; the token that came too late is not used up."""
    operator, key = client_of("operator"), SigningKey.generate()
    first, second, third = token_for(operator, "north"), token_for(operator, "North"), token_for(operator, "west")
    assert enrol(first, key).status_code == 201
    assert operator.post(f"/api/sites/{Site.objects.get().pk}/revoke/", {"why": "stolen"}).status_code == 200
    assert enrol(second, SigningKey.generate()).status_code == 409
    assert enrol(third, key).status_code == 409
    assert enrol(first, key).status_code == 400, "a revoked site does not come back by its old token"
    refused = operator.post("/api/sites/tokens/", {"name": "NORTH"})
    assert refused.status_code == 409 and "choose another name" in refused.json()["errors"][0]["message"]
    assert Enrolment.objects.filter(used_at=None).count() == 2


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite in memory has one writer; test_enrol_command has its file"
)
@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_used_twice_at_once_makes_one_site(client_of: Clients, settings: Any) -> None:
    """Eight come at the same time with eight keys: one is enrolled, seven are told that the token is used."""
    settings.LOGIN_FAILURES = 100
    token = token_for(client_of("operator"), "north")
    together = threading.Barrier(8)

    def come(_: int) -> tuple[int, str]:
        key = SigningKey.generate()
        together.wait()
        try:
            return enrol(token, key).status_code, key.public
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(come, range(8)))
    assert sorted(status for status, _ in answers) == [201, *[400] * 7]
    (winner,) = [public for status, public in answers if status == 201]
    assert Site.objects.get().key == winner
    assert AuditEntry.objects.filter(action="site.enrol").count() == 1


def test_guessing_tokens_is_slowed_down(client_of: Clients, settings: Any) -> None:
    """As guessing passwords is, and by address: others enrol meanwhile."""
    settings.LOGIN_FAILURES = 3
    token, key = token_for(client_of("operator"), "north"), SigningKey.generate()
    for number in range(3):
        assert enrol(f"guess {number}", key).status_code == 400
    waits = enrol(token, key)
    assert waits.status_code == 429 and "Too many wrong enrolment tokens" in waits.json()["detail"]
    assert int(waits.headers["Retry-After"]) > 0
    body = {"token": token, "key": key.public, "proof": proof_of(key, token)}
    assert APIClient().post("/api/sites/enrol/", body, REMOTE_ADDR="203.0.113.9").status_code == 201


def test_tokens_are_withdrawn_unless_used(client_of: Clients) -> None:
    """And a used one says what to do instead."""
    operator, key = client_of("operator"), SigningKey.generate()
    gone, used = token_for(operator, "north", hours=1), token_for(operator, "south")
    assert enrol(used, key).status_code == 201
    south, north = (row["id"] for row in operator.get("/api/sites/tokens/").json()["results"])
    assert operator.delete(f"/api/sites/tokens/{north}/").status_code == 204
    assert "is not known" in enrol(gone, SigningKey.generate()).json()["errors"][0]["message"]
    assert "revoke the site instead" in operator.delete(f"/api/sites/tokens/{south}/").json()["detail"]
    assert operator.post("/api/sites/tokens/", {"name": "x", "hours": 721}).status_code == 400


def test_a_site_is_changed_and_revoked(client_of: Clients) -> None:
    """Owners, end and allow list may be changed; name and key may not; revoking is once and for good."""
    operator = client_of("operator")
    north = site("north")
    path = f"/api/sites/{north.pk}/"
    change = {"owners": ["the-operator"], "allowed": ["ddy6heod", "digits"], "valid_until": "2020-01-01T00:00:00Z"}
    assert operator.patch(path, change).json()["standing"] == "expired"
    assert AuditEntry.objects.get(action="site.change").detail == "allowed, owners, valid_until"
    for wrong in ({"name": "south"}, {"key": "x" * 43}, {"owners": ["nobody"]}, {"revoked_at": None, "own": True}):
        assert operator.patch(path, wrong).status_code == 400
    assert operator.post(f"{path}revoke/", {}).status_code == 400
    shown = operator.post(f"{path}revoke/", {"why": "its disk was sold"}).json()
    assert (shown["standing"], shown["revoked_by"], shown["revoked_why"]) == (
        "revoked", "the-operator", "its disk was sold",
    )  # fmt: skip
    assert operator.post(f"{path}revoke/", {"why": "again"}).status_code == 409


# ---------------------------------------------------------------- admission
def test_a_run_names_whom_it_admits(client_of: Clients, configuration: Configuration, log: MemoryLog) -> None:
    """Open without a word; enrolled: the sites that are named, or all that are valid now; in the log and over REST."""
    operator = client_of("operator")
    body = {"configuration": configuration.pk}
    assert operator.post("/api/deployments/", body).json()["admission"] == {"mode": "open", "sites": []}
    nobody = operator.post("/api/deployments/", body | {"admission": "enrolled"})
    assert nobody.status_code == 400 and "No site is enrolled yet" in nobody.json()["errors"][0]["message"]
    end = timezone.now() + timedelta(days=1)
    north, south = site("north", valid_until=end), site("south")
    site("gone", revoked_at=timezone.now())
    site("late", valid_until=timezone.now())
    made = operator.post("/api/deployments/", body | {"admission": "enrolled"}).json()
    assert made["admission"] == {"mode": "enrolled", "sites": ["north", "south"]}
    assert operator.get("/api/deployments/").json()["results"][0]["admission"]["sites"] == ["north", "south"]
    publish_pending(log)
    control = ControlTopic(log, made["federation"])
    control.sync()
    assert control.head is not None
    rules = control.head.opened.rules
    control.close()
    assert rules.admission == Admission(mode="enrolled", sites=(north.site_key, south.site_key))
    assert rules.admission.sites[0].until_ms == int(end.timestamp() * 1000)
    named = operator.post("/api/deployments/", body | {"sites": ["SOUTH", "south"]}).json()
    assert named["admission"] == {"mode": "enrolled", "sites": ["south"]}
    alone = operator.post("/api/deployments/", body | {"federated": False, "sites": "north"}).json()
    assert alone["admission"]["sites"] == ["north"]
    for wrong, sentence in (
        ({"sites": ["gone"]}, "No site 'gone' is enrolled and valid now"),
        ({"sites": ["late"]}, "No site 'late' is enrolled and valid now"),
        ({"admission": "open", "sites": ["north"]}, "An open run admits anyone"),
        ({"admission": "closed"}, "not a valid choice"),
    ):
        refused = operator.post("/api/deployments/", body | wrong)
        assert refused.status_code == 400 and sentence in refused.json()["errors"][0]["message"]


def test_runs_that_go_on_are_asked_to_put_a_revoked_site_out(client_of: Clients, configuration: Configuration) -> None:
    """The answer to its revocation, its page and the runs' own name them; a run that starts anew leaves it out."""
    operator = client_of("operator")
    north, south = site("north"), site("south")
    asked = {"configuration": configuration.pk, "admission": "enrolled"}
    goes_on, over, stopped, theirs = (operator.post("/api/deployments/", asked).json()["federation"] for _ in range(4))
    Deployment.objects.filter(federation=over).update(state=State.FINISHED)
    Deployment.objects.filter(federation=stopped).update(state=State.STOPPED)
    Deployment.objects.filter(federation=theirs).update(external=True)
    operator.post("/api/deployments/", {"configuration": configuration.pk})
    shown = operator.post(f"/api/sites/{north.pk}/revoke/", {"why": "stolen"}).json()
    assert set(shown["admitted_by"]) == {goes_on, stopped, theirs}
    assert admissions() == [(goes_on, "the-operator", ["south"])]
    (notice,) = operator.get(f"/api/deployments/{goes_on}/").json()["notices"]
    assert notice.startswith("the site north is revoked, and this run still admits it: one that goes on is asked")
    assert operator.get(f"/api/deployments/{over}/").json()["notices"] == []
    assert operator.post(f"/api/deployments/{stopped}/resume/").status_code == 202
    assert admissions()[1:] == [(stopped, "the-operator", ["south"])]
    anew = operator.post(f"/api/deployments/{goes_on}/restart/").json()
    assert anew["admission"] == {"mode": "enrolled", "sites": ["south"]}
    # what was asked and is not in the log yet is not forgotten: north does not come back with south's end
    assert operator.post(f"/api/sites/{south.pk}/revoke/", {"why": "moved"}).status_code == 200
    assert (goes_on, "the-operator", []) in admissions()
    refused = operator.post(f"/api/deployments/{goes_on}/restart/")
    assert refused.status_code == 409 and "None of the sites" in refused.json()["detail"]


def test_a_run_that_goes_on_admits_others(client_of: Clients, federation: str, user: Callable[[str], User]) -> None:
    """By names, over REST and on its page; a run that has ended takes no such order."""
    operator = client_of("operator")
    site("north")
    site("south")
    path = f"/api/deployments/{federation}/"
    assert operator.post(f"{path}admission/", {"sites": ["north"]}).status_code == 202
    assert AuditEntry.objects.get(action="deployment.admission").detail == "north"
    assert operator.post(f"{path}admission/", {"admission": "enrolled"}).status_code == 202
    browser = logged_in(User.objects.get(username="the-operator"))
    page = text(browser.get(f"/deployments/{federation}/"))
    assert 'id="admission"' in page and 'name="sites" value="north"' in page
    act = f"/deployments/{federation}/act/admission/"
    answer = text(browser.post(act, {"admission": "open", "sites": ["north"]}, follow=True))
    assert "is asked to admit these" in answer
    assert [names for _, _, names in admissions()] == [["north"], ["north", "south"], []]
    assert "No site 'x'" in text(browser.post(act, {"admission": "enrolled", "sites": ["x"]}, follow=True))
    Deployment.objects.update(state=State.STOPPED)
    refused = operator.post(f"{path}admission/", {"sites": ["north"]})
    assert refused.status_code == 409 and "admits nobody else" in refused.json()["detail"]


def admissions() -> list[tuple[str, str, list[str]]]:
    """The orders: which federation, by whom, which sites."""
    orders = OutboxEntry.objects.filter(kind="command", payload__action="admission").order_by("id")
    return [
        (order.deployment.federation, order.payload["by"], [one["name"] for one in _sites(order.payload)])
        for order in orders
    ]


def _sites(payload: Any) -> list[Any]:
    msgspec.convert(payload["admission"], Admission)
    found: list[Any] = payload["admission"].get("sites", [])
    return found


def test_rules_of_others_are_shown_as_they_are() -> None:
    """Of a run whose `opened` was not read yet nothing is known: it is shown as open."""
    assert admission.shown({"min_clients": 2}) == {"mode": "open", "sites": []}
    made = msgspec.to_builtins(Admission(mode="enrolled", sites=(site("north").site_key,)))
    assert admission.shown({"admission": made}) == {"mode": "enrolled", "sites": ["north"]}


# ---------------------------------------------------------------- this platform's own site
def test_the_own_site_is_enrolled_at_each_start_and_once(db: None, tmp_path: Any) -> None:
    """By its key, under the usual name or MAINSTEM_SITE's; a revoked one stays so, and a new key gets another name."""
    key, other = SigningKey.generate(), SigningKey.generate()
    file = tmp_path / "site.key"
    assert own.enrol_own({}) is None
    environ = {"MAINSTEM_SITE_KEY_FILE": str(file)}
    with pytest.raises(ConfigError, match=r"MAINSTEM_SITE_KEY_FILE.* cannot be read: No such file"):
        own.enrol_own(environ)
    file.write_bytes(key.pem())
    first = own.enrol_own(environ)
    assert first is not None and (first.name, first.key, first.own) == ("local", key.public, True)
    Site.objects.update(revoked_at=timezone.now())
    assert own.enrol_own(environ) == first and Site.objects.get().standing == "revoked"
    file.write_bytes(other.pem())
    second = own.enrol_own(environ)
    assert second is not None and second.name.startswith("local-") and second.standing == "enrolled"
    file.write_bytes(SigningKey.generate().pem())
    third = own.enrol_own(environ | {"MAINSTEM_SITE": "north"})
    assert third is not None and third.name == "north"
    assert AuditEntry.objects.filter(action="site.enrol", who="platform").count() == 3


def test_the_platforms_key_is_in_the_answer(client_of: Clients, settings: Any) -> None:
    """Where it has one."""
    operator = client_of("operator")
    settings.PLATFORM_KEY = None
    assert enrol(token_for(operator, "north"), SigningKey.generate()).json()["platform"] is None
    settings.PLATFORM_KEY = SigningKey.generate().public
    told = enrol(token_for(operator, "south"), SigningKey.generate()).json()["platform"]
    assert told == settings.PLATFORM_KEY


def test_streams_train_for_whom_the_allow_list_names(federation: str, user: Callable[[str], User]) -> None:
    """Runs of others alone: one's own were opened by one's own people. Without a list all are taken."""
    deployment = Deployment.objects.get(federation=federation)
    source = DataSource.objects.create(topic="s", cluster_id="c", topic_id="t", partition=0, offset=0, timestamp_ms=0)
    mine = site("local", own=True)
    site("another", allowed=["nobody"])
    deployment.external = True
    assert own.refusal(deployment) is None
    Site.objects.filter(pk=mine.pk).update(allowed=["zzzzzzzz"])
    assert "the allow list of the site local does not name this federation" in (own.refusal(deployment) or "")
    deployment.save()
    Deployment.objects.update(state=State.WAITING)
    assert matching.match([source]) == 0
    for names in ([federation], [deployment.name]):
        Site.objects.filter(pk=mine.pk).update(allowed=names)
        assert own.refusal(deployment) is None
    Site.objects.filter(pk=mine.pk).update(allowed=["zzzzzzzz"])
    deployment.external = False
    assert own.refusal(deployment) is None
