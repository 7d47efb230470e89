"""Fills a platform's database with names as long as each column takes, without a blank; nothing of it runs.

    python -m tests.support.long_names --home DIR

prints, as JSON, the addresses of the pages that show them.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from io import BytesIO

LONGEST = "W" * 100
CLIENT = "W" * 51 + "-0123456789ab"
TOPIC = "W" * 200
WORD = "https://" + "w" * 400
AT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
WAITING, FINISHED = "longname", "longnam2"

HEAD = {"lineage": [0, 1], "seq": 2, "hash": "0" * 64}
"""What is kept of the head of a run's chain."""


def write() -> list[str]:
    """Put the rows into Django's database, which must be set up; the pages' addresses."""
    from django.contrib.auth.models import Group

    from backend.accounts.models import User
    from backend.catalog.models import Blob, Configuration, Model
    from backend.deployments.models import ClientRound, Deployment, Member, Refusal, Round, Version
    from backend.inference.models import Inference
    from backend.launchers.models import Job
    from backend.sites.models import Enrolment, Site
    from backend.streams.models import DataSource, Injection

    person = User.objects.create_user(LONGEST, email=f"{'w' * 60}@example.org", password=None)
    person.groups.set([Group.objects.get(name="viewer")])
    told = {"name": LONGEST, "description": WORD, "created_by": person}
    tensor = {"name": f"{LONGEST}/kernel", "dtype": "float32", "shape": [4, 2]}
    model = Model.objects.create(
        **told, kind="json", architecture="{}", weights=Blob.store(BytesIO(b"none")), tensors=[tensor], input_shape=[4],
        output_shape=[2], parameters=8, compile={"optimizer": "adam", "loss": "mse", "metrics": ["mae"]},
        layers=[{"name": LONGEST, "class": "Dense", "output_shape": [None, 2], "params": 8}],
    )  # fmt: skip
    configuration = Configuration.objects.create(**told)
    configuration.models.set([model])
    site = Site.objects.create(
        name="W" * 64, key="W" * 43, allowed=[LONGEST], revoked_at=AT, revoked_by=LONGEST, revoked_why=WORD[:400],
        valid_until=AT,
    )  # fmt: skip
    site.owners.set([person])
    Enrolment.issue("W" * 64, AT, person, AT)
    admission = {"mode": "enrolled", "sites": [{"name": site.name, "key": site.key}] * 2}
    rules = {"rounds": 3, "min_clients": 3, "deadline_ms": 600_000, "admission": admission}
    usual = {
        "name": LONGEST, "configuration": configuration, "model": model, "rules": rules, "created_by": person,
        "input": {"shape": [4], "dtype": "float32", "targets": 2}, "strategy": {"name": "fedavg"}, "opened_ms": 1,
        "data": {"min_data": 1, "restriction": {LONGEST: LONGEST}}, "training": {"loss": LONGEST},
    }  # fmt: skip
    done = Deployment.objects.create(
        **usual, federation=FINISHED, state="finished", round=1, version=1, head=HEAD, ended_ms=9, detail=WORD,
    )  # fmt: skip
    waiting = Deployment.objects.create(
        **usual, federation=WAITING, parent=FINISHED, state="waiting", detail=WORD, error=WORD, trouble=WORD,
        failures=[{"client": f"x{CLIENT[1:]}", "detail": WORD}],
    )  # fmt: skip
    source = DataSource.objects.create(
        cluster_id="c", topic_id="t", partition=0, offset=0, timestamp_ms=1_790_000_000_000, topic=f"{TOPIC}:0:0:900",
        description=LONGEST, input_format="RAW", input_config={"data_reshape": "4", LONGEST: LONGEST},
        restrictions={LONGEST: LONGEST}, total_msg=900, notice=WORD, value=WORD.encode(),
    )  # fmt: skip
    refused = DataSource.objects.create(
        cluster_id="c", topic_id="t", partition=0, offset=1, timestamp_ms=1, problem=WORD, value=WORD.encode()
    )
    name = f"federated-training-{WAITING}-{source.digest}"
    Job.objects.create(
        name=name, federation=WAITING, deployment=waiting, source=source, client_id=CLIENT, state="failed", detail=WORD
    )
    Injection.objects.create(topic=TOPIC, state="failed", detail=WORD, created_by=person)
    Inference.objects.create(
        name="w" * 40, federation=FINISHED, deployment=done, version=1, sha256="0" * 64, replicas=0, state="stopped",
        input_topic=TOPIC, output_topic=f"{TOPIC}-out", input_format="RAW", detail=WORD, created_by=person,
    )  # fmt: skip
    measured = {"examples": 9, "values": {LONGEST: 0.5, "loss": 0.1}}
    for number in (0, 1):
        Version.objects.create(
            deployment=done, number=number, seq=number, sha256="f" * 64, nbytes=16, weights={}, offset=number,
            created_ms=1_790_000_000_000, evaluation=measured,
        )  # fmt: skip
    round_ = Round.objects.create(
        deployment=done, seq=1, number=1, version=1, base_version=0, strategy={"name": "fedavg"}, opened_ms=1,
        closed_ms=8000, closed_by="all", committed_ms=9000, examples=9, accepted=1, left_out=1, refused=1,
        writer=LONGEST, offset=1, evaluation=measured,
    )  # fmt: skip
    ClientRound.objects.create(
        round=round_, client=CLIENT, examples=9, coefficient=1, scale=0.5, score=1e200, left_out="W" * 200,
        sha256="e" * 64, nbytes=16, offset=5, base_version=0, number=0, received_ms=7000, training=measured,
        train_seconds=3, upload_seconds=1,
    )  # fmt: skip
    Refusal.objects.create(deployment=done, client=CLIENT, offset=7, round=1, reason="stale", detail=WORD)
    Member.objects.create(deployment=done, client=CLIENT, state="left", detail=WORD, evaluation=measured)
    runs = [
        f"/deployments/{federation}/{tab}"
        for federation in (WAITING, FINISHED)
        for tab in ("", "clients/", "recorder/")
    ]
    return [
        "/", "/deployments/", "/deployments/new/", *runs, f"/deployments/{WAITING}/versions/",
        f"/deployments/{FINISHED}/versions/?a=0&b=1", f"/deployments/{FINISHED}/rounds/1/",
        f"/compare/?run={WAITING}&run={FINISHED}", "/models/", "/models/new/", f"/models/{model.pk}/",
        "/configurations/", "/configurations/new/", f"/configurations/{configuration.pk}/", "/datasources/",
        f"/datasources/{source.pk}/", f"/datasources/{refused.pk}/", "/topics/", "/jobs/", f"/jobs/{name}/",
        "/sites/", "/sites/new/", f"/sites/{site.pk}/",
        "/inference/", f"/inference/{'w' * 40}/", f"/inference/deploy/{FINISHED}/1/", f"/inference/try/{FINISHED}/1/",
        "/users/", "/users/new/", f"/users/{person.pk}/", "/account/", "/confirm/", "/audit/",
        "/programs/", "/nowhere/",
    ]  # fmt: skip


def main() -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description="Fills a platform's database with long names.")
    parser.add_argument("--home", required=True)
    os.environ["MAINSTEM_HOME"] = parser.parse_args().home
    os.environ.setdefault("MAINSTEM_SECRET_KEY", "only-for-tests")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
    import django

    django.setup()
    print(json.dumps(write()))


if __name__ == "__main__":
    main()
