"""Why a run does not go on, from facts alone: each sentence, its order, and what is to be done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.runs.reasons.reasons import Facts, IdleStream, Launched, Open, Waiting, detail_with, reasons
from mainstem.runtime.words import few

LAST = "failed for good with: exit code 3: the loss became nan"


def failed(*clients: str, detail: str = LAST) -> tuple[Launched, ...]:
    """Failed Jobs of these clients."""
    return tuple(Launched(f"job-{client}", client, "failed", detail) for client in clients)


def said(facts: Facts) -> list[str]:
    """Each reason with its advice."""
    return [f"{reason}. {reason.advice}".strip() for reason in reasons(facts)]


def test_six_failed_jobs_are_one_sentence() -> None:
    """With their last error, their Jobs, and what to do; nobody is told to announce a stream."""
    facts = Facts("waiting", jobs=failed(*"abcdef"), waiting=Waiting(0, 3, idle=6))
    found = reasons(facts)
    assert str(found[0]) == f"a, b, c and 3 more: {LAST}" and found[0].wrong
    assert found[0].advice == "Mend what is named, then retry on the Job's page."
    assert found[0].jobs == tuple(f"job-{client}" for client in "abcdef")
    assert str(found[1]) == "clients: 0 of 3 have joined, and no Job is under way"
    assert detail_with("", found) == f"a, b, c and 3 more: {LAST}"


def test_what_a_client_said_itself_goes_before_its_job() -> None:
    """And stands for it."""
    facts = Facts("running", gave_up=(("a", "no data"),), jobs=failed("a", "b"))
    assert list(map(str, reasons(facts))) == ["a: no data", f"b: {LAST}"]


def test_streams_that_do_not_fit_name_the_field() -> None:
    """Each with its reason, and what would fit."""
    streams = (
        IdleStream(7, "digits", False, "its data_reshape [8, 8] is not the model's input shape [28, 28]"),
        IdleStream(6, "wards", False, "it has 5 records and the federation asks for at least 100"),
    )
    facts = Facts("waiting", waiting=Waiting(1, 3, streams=streams, wants="one whose samples have the shape [28, 28]"))
    clients, data = reasons(facts)
    assert str(clients) == "clients: 1 of 3 have joined"
    assert str(data) == (
        "data streams: no announced stream fits. Stream 7 (digits): its data_reshape [8, 8] is not the model's input "
        "shape [28, 28]; stream 6 (wards): it has 5 records and the federation asks for at least 100"
    )
    assert data.advice == "Announce one whose samples have the shape [28, 28]." and data.streams == (7, 6)
    assert not data.wrong and detail_with("", [clients, data]) == ""


def test_streams_that_are_missing_or_wait() -> None:
    """None announced; one that waits for Kafka; more Jobs at work than are needed ask for none."""
    assert said(Facts("waiting", waiting=Waiting(0, 1, wants="one of shape [4]"))) == [
        "clients: 0 of 1 have joined.",
        "data streams: no stream was announced yet. Announce one of shape [4].",
    ]
    waits = IdleStream(3, "t", True, "its topic t does not exist yet")
    assert said(Facts("waiting", waiting=Waiting(0, 2, streams=[waits], launcher="none has run"))) == [
        "clients: 0 of 2 have joined.",
        "the launcher: none has run. No Job is made or started until it works again.",
        "stream 3 (t): it waits: its topic t does not exist yet.",
        "data streams: no other stream was announced yet.",
    ]
    under_way = Facts("waiting", waiting=Waiting(1, 3, under_way=2))
    (joined,) = said(under_way)
    assert joined.startswith("clients: 1 of 3 have joined, and 2 Jobs are under way. A client joins once it has read")
    assert said(Facts("waiting", waiting=Waiting(3, 3))) == []


def test_whom_a_round_waits_for() -> None:
    """By name, the silent ones apart, and when it closes without them."""
    facts = Facts("running", round=Open(5, ["a", "b"], ["b"], deadline_seconds=600, quorum=2))
    (waits,) = said(facts)
    assert waits.startswith("round 5: it waits for a, b; silent: b. Its deadline of 600 s closes it with 2 updates")
    assert waits.endswith("at least; with fewer it is extended.")
    assert said(Facts("running", round=Open(5, []))) == []


def test_states_in_which_no_round_is_open() -> None:
    """What they mean, and the way on; a finished run has nothing to say."""
    assert said(Facts("stopped")) == ["the run: it was stopped. Resume it: it goes on from its last commit."]
    assert said(Facts("opening", kafka="no broker")) == ["Kafka: no broker. It is retried by itself."]
    assert said(Facts("lost", log=["its topic x is gone"]))[0] == "the log: its topic x is gone."
    assert said(Facts("finished")) == []


names = st.lists(st.text("abc", min_size=1, max_size=3), max_size=9, unique=True)


@given(names, names, st.integers(0, 5), st.integers(1, 5), st.integers(0, 5))
def test_a_run_that_lacks_clients_always_says_so(
    gave_up: list[str], broken: list[str], active: int, needed: int, under_way: int
) -> None:
    """Each client is named in one trouble at most, and `told` counts what it leaves out."""
    facts = Facts(
        "waiting",
        gave_up=[(name, f"why {name}") for name in gave_up],
        jobs=failed(*broken),
        waiting=Waiting(active, needed, under_way),
    )
    found = reasons(facts)
    wrong = [reason for reason in found if reason.wrong]
    assert len(wrong) == len(gave_up) + bool(set(broken) - set(gave_up))
    assert any(reason.about == "clients" for reason in found) == (active < needed)
    assert ("more" in detail_with("", found)) == (len(wrong) > 3 or len(set(broken) - set(gave_up)) > 3 >= len(wrong))


def test_few_names() -> None:
    """The rest is counted."""
    assert few(["a"], 3) == "a" and few(list("abcd"), 3) == "a, b, c and 1 more" and few([], 3) == ""
