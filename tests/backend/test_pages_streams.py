"""The pages of data sources: streams, samples as pictures, fits, and asking for sample data."""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backend.catalog.models import Configuration
from backend.deployments import services
from backend.deployments.log import kafka as connection
from backend.deployments.models import Deployment, State
from backend.launchers.models import Job
from backend.streams import injections, pictures
from backend.streams.decoding import MOST_CHARACTERS, message_of
from backend.streams.models import DataSource, Injection, InjectionState
from mainstem.errors import LogError
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.topics import stream_spec
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import XSS, Ticking, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

CONFIG = {"data_type": "float32", "data_reshape": "784", "label_type": "float32", "label_reshape": "10"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """The Kafka of the data streams, with 20 samples in the topic digits."""
    log = MemoryLog(Ticking())
    log.create_topics([stream_spec("digits")])
    labels = np.eye(10, dtype=np.float32)
    x = np.linspace(0, 1, 784, dtype=np.float32)
    log.append("digits", [Outgoing(x.tobytes(), key=labels[i % 10].tobytes()) for i in range(19)])
    log.append("digits", [Outgoing(b"short", key=labels[0].tobytes())])
    monkeypatch.setattr(connection, "stream_log", lambda: log)
    return log


def source(**fields: Any) -> DataSource:
    """An announced stream of those samples."""
    usual = {
        "topic": "digits:0:0:20", "input_format": "RAW", "input_config": CONFIG, "description": "Digits of site 3",
        "total_msg": 20, "cluster_id": "c", "topic_id": "t", "partition": 0, "timestamp_ms": 1_700_000_000_000,
        "offset": DataSource.objects.count(), "value": b'{"topic": "digits:0:0:20"}',
    }  # fmt: skip
    return DataSource.objects.create(**(usual | fields))


def test_list_and_filters(user: Callable[[str], Any]) -> None:
    """Streams and refused announcements, with what each is, and filters in the address."""
    source()
    source(topic="", input_format="", input_config={}, problem="the announcement is not JSON", description="")
    browser = logged_in(user("viewer"))
    shown = text(browser.get("/datasources/"))
    assert "Digits of site 3" in shown and "the announcement is not JSON" in shown and "2023-11-14" in shown
    assert "Inject" not in shown.replace("injections", "")
    assert "Digits of site 3" not in text(browser.get("/datasources/?refused=yes"))
    assert "No stream fits the filter" in text(browser.get("/datasources/?q=nothing"))
    assert text(browser.get("/datasources/?format=RAW&page=x")).count("Digits of site 3") == 1


def test_samples_as_pictures(user: Callable[[str], Any], site: MemoryLog) -> None:
    """Samples are decoded and drawn with their labels; a bad one says why; the rest is a page away."""
    stream = source()
    browser = logged_in(user("viewer"))
    first = text(browser.get(f"/datasources/{stream.pk}/samples/", headers={"HX-Request": "true"}))
    assert first.count("<img") == 12 and 'alt="Sample with the label 3"' in first and "1 to 12 of 20" in first
    last = text(browser.get(f"/datasources/{stream.pk}/samples/?at=12", headers={"HX-Request": "true"}))
    assert last.count("<img") == 7 and "not decoded" in last and "Later" not in last
    assert "<html" in text(browser.get(f"/datasources/{stream.pk}/samples/?at=99999999999999999"))


def test_samples_without_kafka(user: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says in a sentence what is away; nothing fails."""
    stream = source()

    def away() -> MemoryLog:
        raise LogError("Kafka at nowhere:9092 does not answer")

    monkeypatch.setattr(connection, "stream_log", away)
    browser = logged_in(user("viewer"))
    answer = browser.get(f"/datasources/{stream.pk}/samples/")
    assert answer.status_code == 200 and "Kafka at nowhere:9092 does not answer" in text(answer)
    assert browser.get(f"/datasources/{stream.pk}/").status_code == 200


def test_a_stream_that_cannot_be_read(user: Callable[[str], Any], site: MemoryLog) -> None:
    """A configuration that cannot be is told, and a refused announcement has no samples."""
    broken = source(input_config={"data_type": "nonsense"})
    browser = logged_in(user("viewer"))
    assert "is not a type of numbers" in text(browser.get(f"/datasources/{broken.pk}/samples/"))
    refused = source(problem="the announcement is empty")
    assert "announces no stream" in text(browser.get(f"/datasources/{refused.pk}/"))
    assert browser.get(f"/datasources/{refused.pk}/samples/").status_code == 404


def test_fits_with_reasons(user: Callable[[str], Any], configuration: Configuration) -> None:
    """An open federation that it does not fit says why."""
    services.create({"configuration": configuration}, None)
    Deployment.objects.update(state=State.WAITING)
    shown = text(logged_in(user("viewer")).get(f"/datasources/{source().pk}/"))
    assert "does not" in shown and "is not the model's input shape" in shown and "study" in shown


def test_what_a_job_leaves_out_of_a_stream(user: Callable[[str], Any], configuration: Configuration) -> None:
    """Stream's page and `fits` say which records its Jobs leave out, and why."""
    services.create({"configuration": configuration}, None)
    Deployment.objects.update(state=State.WAITING)
    deployment, stream = Deployment.objects.get(), source()
    Job.objects.create(
        name="job-1", federation=deployment.federation, deployment=deployment, source=stream, client_id="c1"
    )
    note = "2 of 20 records are left out: 2 because the label is 77; the model's classes are 0 to 9"
    deployment.members.create(client="c1", state="waiting", detail=note)
    deployment.members.create(client="c2", state="waiting", detail="another's")
    browser = logged_in(user("viewer"))
    shown = html.unescape(text(browser.get(f"/datasources/{stream.pk}/")))
    assert note in shown and "another's" not in shown
    (fit,) = browser.get(f"/api/datasources/{stream.pk}/fits/").json()
    assert fit["note"] == note and fit["job"] == "job-1"


def test_asking_for_sample_data(user: Callable[[str], Any]) -> None:
    """An operator's request waits for the launcher process; every wrong value has its sentence."""
    browser = logged_in(user("operator"))
    form = {
        "clients": "3", "train_samples": "30", "test_samples": "5", "alpha": "", "seed": "1", "topic": "digits",
        "input_format": "AVRO", "restriction": '{"set": "digits"}',
    }  # fmt: skip
    for change, sentence in (
        ({"clients": "0"}, "greater than or equal to 1"),
        ({"clients": "1001"}, "less than or equal to 1000"),
        ({"clients": "three"}, "A valid integer is required."),
        ({"train_samples": ""}, "A valid integer is required."),
        ({"test_samples": "-1"}, "greater than or equal to 0"),
        ({"alpha": "0"}, "greater than or equal to 0.001"),
        ({"seed": "x"}, "A valid integer is required."),
        ({"topic": "two words"}, "A topic's name has"),
        ({"topic": ""}, "This field may not be blank."),
        ({"topic": "FED-ddy6heod-model_control_topic"}, "is not a topic for samples"),
        ({"topic": "FEDERATED_DATA_CONTROL_TOPIC"}, "is not a topic for samples"),
        ({"input_format": "XML"}, '"XML" is not a valid choice.'),
        ({"restriction": "{"}, "This is not JSON"),
    ):
        answer = browser.post("/datasources/inject/", form | change)
        assert answer.status_code == 400 and sentence in text(answer), change
    assert not Injection.objects.exists()
    assert browser.post("/datasources/inject/", form)["Location"] == "/datasources/"
    asked = Injection.objects.get()
    assert (asked.clients, asked.alpha, asked.restriction, asked.state) == (3, None, {"set": "digits"}, "waiting")
    assert "every 1s" in text(browser.get("/datasources/injections/"))
    assert logged_in(user("viewer")).post("/datasources/inject/", form).status_code == 403


def test_an_injection_is_carried_out_once(db: None, settings: Any) -> None:
    """Without Kafka it fails with the script's sentence; one that was cut off is not begun anew."""
    settings.DATA_BOOTSTRAP = "127.0.0.1:1"
    settings.DATA_CLIENT_CONFIG = ""
    cut_off = Injection.objects.create(state=InjectionState.RUNNING)
    asked = Injection.objects.create(clients=900, train_samples=1, test_samples=1)
    injector = injections.InjectionRunner()
    assert injector.step() and not injector.step()
    cut_off.refresh_from_db()
    asked.refresh_from_db()
    assert cut_off.state == InjectionState.FAILED and "launcher ended meanwhile" in cut_off.detail
    assert asked.state == InjectionState.FAILED and asked.ended_at is not None
    assert asked.detail and "Traceback" not in asked.detail


def test_names_are_text(user: Callable[[str], Any]) -> None:
    """Nothing that a site writes becomes markup."""
    stream = source(description=XSS, restrictions={XSS: XSS}, value=json.dumps({"x": XSS}).encode())
    Injection.objects.create(detail=XSS, state=InjectionState.FAILED)
    browser = logged_in(user("admin"))
    for path in ("/datasources/", f"/datasources/{stream.pk}/", f"/datasources/?q={XSS}"):
        page = browser.get(path).content.decode()
        assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script&gt;" in page


def test_pictures_are_png() -> None:
    """A grey and a coloured sample become files whose pixels are the sample's; what is no picture becomes none."""
    grey = pictures.picture(np.linspace(0, 1, 784, dtype=np.float32))
    assert grey is not None
    data = base64.b64decode(grey.partition(",")[2])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == (28).to_bytes(4, "big") * 2
    pixels = zlib.decompress(data[data.index(b"IDAT") + 4 : -16])
    assert len(pixels) == 28 * 29 and pixels[1] == 0 and pixels[-1] == 255
    assert pictures.picture(np.full((32, 32, 3), 200, np.uint8)) is not None
    assert pictures.picture(np.full(784, np.nan, np.float32)) is not None
    for shape in ((5,), (3, 3, 3, 3), (1000, 1000), (8, 8, 2)):
        assert pictures.picture(np.zeros(shape, np.float32)) is None


@pytest.mark.parametrize(
    ("topic", "value", "kind"),
    [
        ("FEDERATED_MODEL_CONTROL_TOPIC", None, "deleted"),
        ("FEDERATED_MODEL_CONTROL_TOPIC", b"{}", "not understood"),
        ("FEDERATED_DATA_CONTROL_TOPIC", b'{"topic": "t", "input_format": "RAW", "input_config": {}}', "stream, RAW"),
        ("FED-ddy6heod-model_control_topic", b"\xff\xfe", "not understood"),
        ("FEDERATED_AGGREGATOR_TOPIC-ddy6heod", b"[" * 100_000, "not understood"),
        ("digits", b"\x00" * 3136, "record"),
        ("digits", "grüße".encode(), "record"),
    ],
)
def test_any_record_can_be_shown(topic: str, value: bytes | None, kind: str) -> None:
    """Whatever bytes a topic holds, they become bounded text."""
    shown = message_of(Record(topic, 0, 7, 1, b"\xff", value, {"h": b"\x00\x01"}))
    assert shown.kind == kind and len(shown.body) < MOST_CHARACTERS + 100
    assert shown.key == "ff"


@pytest.mark.parametrize(
    ("key", "meant", "shown"),
    [
        (b"ddy6heod", "ddy6heod", "federation <code>ddy6heod</code>, and no other"),
        (b"\1", "", "nobody in particular: its key, <code>0x01</code>, is no federation's id"),
        (None, "", "nobody in particular</dd>"),
    ],
)
def test_the_page_says_whom_a_stream_is_addressed_to(
    user: Callable[[str], Any], key: bytes | None, meant: str, shown: str
) -> None:
    """One federation and no other, or nobody in particular, with the key that Kafka-ML's sinks send."""
    stream = source(key=key, addressed_to=meant)
    browser = logged_in(user("viewer"))
    assert shown in text(browser.get(f"/datasources/{stream.pk}/"))
    assert browser.get(f"/api/datasources/{stream.pk}/").json()["addressed_to"] == meant
