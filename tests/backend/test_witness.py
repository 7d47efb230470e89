"""The backend as the witness of a log's end: what it notes, says and lets people decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.deployments.models import ControlRecord, Deployment, WitnessAcceptance
from backend.deployments.projection import projection
from backend.launchers.meters import DatabaseCollector
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.topics import federation_topics
from mainstem.protocol.witness import Witness, witness_of
from tests.backend.support import logged_in, text
from tests.backend.test_rereading import TOPIC, Run
from tests.support import chains
from tests.vectors.examples import FEDERATION

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

ADDRESS = f"/api/deployments/{FEDERATION}/witness/"
LOST = f"the log of federation {FEDERATION} has lost its tail: it ends after "
OTHER = f"the log of federation {FEDERATION} has another tail than was witnessed"


def end_of(run: Run) -> Witness:
    """The end of the log as a plain reader finds it."""
    control = ControlTopic(run.log, FEDERATION)
    control.sync()
    control.close()
    found = witness_of(control.hashes)
    assert found is not None
    return found


def shown(end: Witness | None) -> dict[str, Any] | None:
    """As REST shows it."""
    return None if end is None else {"count": end.count, "hash": end.hash}


def test_a_lost_tail_is_said_until_a_person_decides(
    client_of: Callable[[str], APIClient], user: Callable[[str], User]
) -> None:
    """Over REST, on both pages, as a metric; only an admin accepts, with a reason, what the log holds by then."""
    run = Run()
    run.rounds(2)
    copy, kept = run.log.copy(), end_of(run)
    run.rounds(3)
    run.deliver()
    newest = end_of(run)
    assert client_of("logger").get(ADDRESS).json() == {
        "federation": FEDERATION, "witness": shown(newest), "end": shown(newest), "doubt": "", "unwitnessed": "",
        "accepted": 0, "acceptances": [],
    }  # fmt: skip
    run.log.restore(copy)
    run.audit()
    sentence = run.row.unwitnessed
    assert sentence.startswith(f"{LOST}3 lifecycle records, and {newest} were witnessed; restore the newer copy")
    told = client_of("viewer").get(ADDRESS).json()
    assert (told["witness"], told["end"], told["unwitnessed"]) == (shown(newest), shown(kept), sentence)
    for address in (f"/api/deployments/{FEDERATION}/", f"/api/results/{FEDERATION}/"):
        assert client_of("viewer").get(address).json()["unwitnessed"] == sentence
    reasons = client_of("viewer").get(f"/api/deployments/{FEDERATION}/").json()["reasons"]
    assert (reasons[0]["about"], reasons[0]["detail"], reasons[0]["wrong"]) == ("the log", sentence, True)
    browser = logged_in(user("operator"))
    assert sentence in text(browser.get(f"/deployments/{FEDERATION}/"))
    overview = text(browser.get("/"))
    assert overview.count(sentence[1:150]) == 2  # where it runs, and where a look is needed
    assert unwitnessed() == 1
    decision = {"hash": kept.hash, "why": "the disk is gone"}
    assert client_of("viewer").post(f"{ADDRESS}accept/", decision, format="json").status_code == 403
    wrong = client_of("admin").post(f"{ADDRESS}accept/", {**decision, "hash": newest.hash}, format="json")
    assert wrong.status_code == 409 and f"The log ends with {kept.hash} by now" in wrong.json()["detail"]
    told = client_of("admin").post(f"{ADDRESS}accept/", decision, format="json").json()
    assert (told["witness"], told["unwitnessed"], told["accepted"]) == (shown(kept), "", 1)
    (accepted,) = told["acceptances"]
    assert accepted.pop("time_ms") > 0
    assert accepted == {
        "number": 1, "accepted": shown(kept), "witnessed": shown(newest), "by": "the-admin", "why": "the disk is gone",
    }  # fmt: skip
    assert unwitnessed() == 0
    run.rounds(1, "1")
    run.position = 3
    run.deliver()
    run.audit()
    assert run.row.unwitnessed == "" and run.row.witness == end_of(run)


def unwitnessed() -> float:
    """What the launcher's metric says."""
    found = {metric.name: metric for metric in DatabaseCollector._metrics()}
    return float(found["mainstem_deployments_unwitnessed"].samples[0].value)


def test_another_tail_and_the_right_copy_again() -> None:
    """A log that has grown again is another one; once the newer copy is back, nothing is wrong any more."""
    run = Run()
    copy = run.log.copy()
    run.rounds(3)
    run.deliver()
    newer, newest = run.log.copy(), end_of(run)
    run.log.restore(copy)
    run.rounds(4, "1")
    run.audit()
    assert run.row.unwitnessed.startswith(f"{OTHER}: it does not hold {newest}; ")
    run.position = 0
    run.deliver()
    run.audit()
    assert run.row.witness == newest and run.row.unwitnessed
    run.log.restore(newer)
    run.audit()
    assert (run.row.unwitnessed, run.row.lost_count, run.row.witness) == ("", 0, newest)


def test_a_newer_copy_of_which_nothing_is_folded_yet() -> None:
    """Its records come by the logger, and are no contradiction: the fold itself finds what was witnessed."""
    run = Run()
    run.rounds(1)
    copy = run.log.copy()
    run.rounds(2)
    run.deliver()
    newer = run.log.copy()
    run.log.restore(copy)
    run.audit()
    assert run.row.unwitnessed
    run.log.restore(newer)
    run.position = 2
    assert run.deliver(1).accepted == 1 and run.row.unwitnessed
    assert run.deliver(1).accepted == 1 and not run.row.unwitnessed


def test_what_is_no_lost_tail() -> None:
    """A projection that lags behind; records for people alone that are gone; a database that was rebuilt."""
    run = Run()
    run.rounds(5)
    run.deliver(3)
    run.audit()
    assert not run.row.unwitnessed
    copy = run.log.copy()
    run.deliver()
    run.progress()
    run.deliver()
    run.log.restore(copy)
    run.audit()
    assert run.row.amended and not run.row.unwitnessed
    Deployment.objects.all().delete()
    ControlRecord.objects.all().delete()
    projection.forget_all()
    run.position = 0
    run.rounds(1)
    run.deliver()
    assert run.row.witness == end_of(run) and not run.row.unwitnessed


def test_topics_that_were_made_anew() -> None:
    """Another run under the same id, and an empty topic."""
    run = Run()
    run.rounds(2)
    run.deliver()
    newest = end_of(run)
    for anew in (False, True):
        run.log.delete_topics([spec.name for spec in federation_topics(FEDERATION)])
        run.log.create_topics(federation_topics(FEDERATION))
        if anew:
            run.put(chains.opened(rounds=3))
        run.audit()
        assert run.row.unwitnessed.startswith(f"{LOST}{int(anew)} lifecycle record{'' if anew else 's'}, and {newest} ")


def test_a_witness_that_is_brought(admin: APIClient) -> None:
    """One that the log holds is nothing new; one of which it knows nothing has it read, and it is said or settled."""
    run = Run()
    run.rounds(2)
    held = end_of(run)
    run.deliver()
    assert admin.post(ADDRESS, shown(held), format="json").json()["unwitnessed"] == ""
    run.rounds(2)
    answer = admin.post(ADDRESS, shown(end_of(run)), format="json")  # the logger has not brought them yet
    assert answer.status_code == 202 and "a witness of 5 lifecycle records" in answer.json()["doubt"]
    assert admin.post(f"{ADDRESS}accept/", {"hash": held.hash, "why": "?"}, format="json").status_code == 409
    run.audit()
    assert (run.row.doubt, run.row.unwitnessed, run.row.witness) == ("", "", end_of(run))
    strange = Witness(count=4, hash="a" * 64)
    admin.post(ADDRESS, shown(strange), format="json")
    run.audit()
    assert run.row.unwitnessed.startswith(f"{OTHER}: it does not hold {strange}") and run.row.amended == ""
    admin.post(ADDRESS, {"count": 2, "hash": "b" * 64}, format="json")  # an older one is no better
    run.audit()
    assert run.row.witness == strange
    for wrong in ({"count": 0, "hash": "b" * 64}, {"count": 1, "hash": "b"}, {"count": 1}):
        assert admin.post(ADDRESS, wrong, format="json").status_code == 400


def test_an_admin_decides_on_the_runs_page(user: Callable[[str], User]) -> None:
    """With the reason; an operator has neither the button nor the right."""
    run = Run()
    run.rounds(1)
    copy = run.log.copy()
    run.rounds(1)
    run.deliver()
    run.log.restore(copy)
    run.audit()
    page, act = f"/deployments/{FEDERATION}/", f"/deployments/{FEDERATION}/act/accept/"
    decision = {"hash": run.row.head["hash"], "why": "an older volume"}
    operator, admin = logged_in(user("operator")), logged_in(user("admin"))
    assert "Go on from what the log holds" not in text(operator.get(page))
    assert operator.post(act, decision).status_code == 403
    assert "Go on from what the log holds" in text(admin.get(page))
    assert "why" in text(admin.post(act, {**decision, "why": ""}, follow=True)).lower() and run.row.unwitnessed
    assert "The run goes on from what the log holds." in text(admin.post(act, decision, follow=True))
    assert WitnessAcceptance.objects.get().why == "an older volume"
    assert not run.row.unwitnessed and TOPIC in run.row.amended
