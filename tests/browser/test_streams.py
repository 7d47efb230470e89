"""The streams behind the live pages, without a browser: many at a time, resumed by id, given back, ended in order."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import signal
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.browser.platform import Platform, until
from tests.support.patience import PATIENCE

PLACES = 64
MANY = 50


@pytest.fixture(scope="package")
def cookie(platform: Platform) -> str:
    """A logged-in session's cookie."""
    return logged_in(platform)[0]


def logged_in(platform: Platform) -> tuple[str, Callable[[], None]]:
    """A new session's cookie, and what ends that session."""
    jar = http.cookiejar.CookieJar()
    web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def send(address: str, **fields: str) -> None:
        page = web.open(f"{platform.base}{address}").read().decode()
        hidden = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page)
        assert hidden is not None
        said = urllib.parse.urlencode({"csrfmiddlewaretoken": hidden[1], **fields}).encode()
        web.open(f"{platform.base}/{'logout' if address == '/' else 'login'}/", said)

    send("/login/", username="admin", password=platform.admin_password)
    return "; ".join(f"{one.name}={one.value}" for one in jar), lambda: send("/")


@pytest.fixture(scope="package")
def told(platform: Platform) -> str:
    """A finished federation."""
    return platform.finished("told by streams", rounds=4, count=2)


class Stream:
    """One open stream of runs, each as `run=` takes it. `last` is the id of the last event that was seen."""

    def __init__(self, platform: Platform, runs: Sequence[str], cookie: str, last: str = "", query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=PATIENCE)
        headers = {"Cookie": cookie} | ({"Last-Event-ID": last} if last else {})
        address = f"/events/?{'&'.join(f'run={run}' for run in runs)}{query}"
        self._connection.request("GET", address, headers=headers)
        self.answer = self._connection.getresponse()
        self.placed = self.answer.status == 200

    def told(self) -> Iterator[tuple[str, str, Any]]:
        """(id, what, data) of all that comes until the stream ends; what is empty for an event of a run."""
        block: dict[str, str] = {}
        for line in self.answer:
            name, _, value = line.decode().strip().partition(": ")
            if name:
                block[name] = value
            elif "data" in block:
                yield block.get("id", ""), block.get("event", ""), json.loads(block["data"])
                block = {}
            else:
                block = {}

    def events(self) -> Iterator[tuple[int, str]]:
        """(offset, kind) of each event, until the stream ends."""
        for number, what, data in self.told():
            if not what:
                yield int(number.partition(":")[2]), data["kind"]

    def close(self) -> None:
        """Hang up."""
        self.answer.close()
        self._connection.close()


def all_of(platform: Platform, federation: str, cookie: str, last: int) -> list[tuple[int, str]]:
    """The events after `last`, up to the run's end."""
    with contextlib.closing(Stream(platform, [federation], cookie, f"{federation}:{last}")) as stream:
        found = []
        for event in stream.events():
            found.append(event)
            if event[1] == "finished":
                return found
    raise AssertionError(f"the stream ended early: {found}")


def test_a_stream_goes_on_where_it_broke(platform: Platform, told: str, cookie: str) -> None:
    """Whatever the last id, exactly the events after it come, and their ids are offsets of the log's records."""
    whole = all_of(platform, told, cookie, -1)
    assert [kind for _, kind in whole].count("round") == 4 and whole[0] == (0, "opened")
    rows = platform.api("GET", f"results/{told}/records/?page_size=1000")["results"]
    records = {row["offset"]: row["kind"] for row in rows}
    assert all(records[number] == kind for number, kind in whole)
    for number, _ in whole[:-1]:
        assert all_of(platform, told, cookie, number) == [event for event in whole if event[0] > number]


def test_one_stream_tells_of_many_runs(platform: Platform, told: str, cookie: str) -> None:
    """Each run's events come from its own offset on, under its own ids; one that is gone is told so at once."""
    other = platform.federation("told beside")
    with contextlib.closing(Stream(platform, [f"{told}:3", f"{other}:-1", "nosuch00:7"], cookie)) as stream:
        heard = stream.told()
        assert next(heard) == ("", "deleted", "nosuch00")
        first = {told: all_of(platform, told, cookie, 3)[0][0], other: 0}
        found: dict[str, int] = {}
        while set(found) != set(first):
            run, _, offset = next(heard)[0].partition(":")
            if run:
                found.setdefault(run, int(offset))
        assert found == first
        platform.api("POST", f"deployments/{other}/stop/")
        platform.api("DELETE", f"deployments/{other}/?confirm={other}")
        assert ("", "deleted", other) in heard


def test_a_browser_without_a_stream_asks(platform: Platform, told: str, cookie: str) -> None:
    """`once` answers what a stream would have told until now, and ends; rows made anew since are said to be so."""
    whole = all_of(platform, told, cookie, -1)
    with contextlib.closing(Stream(platform, [f"{told}:{whole[0][0]}"], cookie, query="&once")) as stream:
        assert list(stream.events()) == whole[1:]
    with contextlib.closing(Stream(platform, [f"{told}:0:0.0"], cookie, query="&once")) as stream:
        assert [one for one in stream.told() if one[1] != "beat"] == [("", "reset", told)]


@pytest.mark.parametrize("runs", [[], ["NOT-A-RUN"], ["abcdefgh:x"], [f"{number:08d}" for number in range(65)]])
def test_a_stream_is_of_runs(platform: Platform, cookie: str, runs: list[str]) -> None:
    """None, too many, or what is none, is refused with the way to ask."""
    with contextlib.closing(Stream(platform, runs, cookie)) as stream:
        assert stream.answer.status == 400
        assert b"Name 1 to 64 runs, each as run=FEDERATION:OFFSET" in stream.answer.read()


def test_a_stream_ends_with_its_session(platform: Platform, told: str) -> None:
    """Who logs out elsewhere loses the stream within seconds; a new one is only for who logs in."""
    cookie, log_out = logged_in(platform)
    with contextlib.closing(Stream(platform, [told], cookie)) as stream:
        heard = stream.told()
        assert next(heard)[1] == "beat"
        log_out()
        assert list(heard)[-1] == ("", "out", {})
    with contextlib.closing(Stream(platform, [told], cookie)) as stream:
        assert stream.answer.status == 302


def test_streams_starve_nobody_and_are_given_back(platform: Platform, told: str, cookie: str) -> None:
    """Beside fifty open streams requests are answered; beyond the last place 503 is; closed ones are free again."""
    streams: list[Stream] = []
    try:
        for _ in range(MANY):
            streams.append(Stream(platform, [told], cookie))
            assert streams[-1].answer.status == 200
        for _ in range(10):
            assert platform.api("GET", f"deployments/{told}/")["state"] == "finished"
        while streams[-1].answer.status == 200:
            assert len(streams) <= PLACES, "more streams than there are places"
            streams.append(Stream(platform, [told], cookie))
        assert streams[-1].answer.status == 503 and streams[-1].answer.getheader("Retry-After")
        assert platform.api("GET", f"deployments/{told}/")["state"] == "finished"
    finally:
        for stream in streams:
            stream.close()

    for stream in several(platform, told, cookie, MANY):
        stream.close()


def several(platform: Platform, federation: str, cookie: str, count: int) -> list[Stream]:
    """So many streams at a time, as soon as there is room for them."""

    streams: list[Stream] = []

    def enough() -> bool:
        stream = Stream(platform, [federation], cookie)
        if stream.answer.status == 200:
            streams.append(stream)
        else:
            stream.close()
        return len(streams) == count

    until(enough, 120)
    return streams


def test_streams_end_with_their_server(platform: Platform, told: str, cookie: str) -> None:
    """When the server is told to stop, open streams end as complete answers rather than being cut off."""
    streams = several(platform, told, cookie, 5)
    running = platform.home.running()
    assert running is not None
    os.kill(running.processes["web"][0], signal.SIGTERM)
    for stream in streams:
        list(stream.events())  # raises IncompleteRead where the answer was cut off
        stream.close()
    platform.until_web_is_back(running.processes["web"][0])
