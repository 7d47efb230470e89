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
from collections.abc import Iterator

import pytest

from tests.browser.platform import Platform, until

PLACES = 64
MANY = 50


@pytest.fixture(scope="package")
def cookie(platform: Platform) -> str:
    """A logged-in session's cookie."""
    jar = http.cookiejar.CookieJar()
    web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    form = web.open(f"{platform.base}/login/").read().decode()
    hidden = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', form)
    assert hidden is not None
    said = {"csrfmiddlewaretoken": hidden[1], "username": "admin", "password": platform.admin_password}
    web.open(f"{platform.base}/login/", urllib.parse.urlencode(said).encode())
    return "; ".join(f"{one.name}={one.value}" for one in jar)


@pytest.fixture(scope="package")
def told(platform: Platform) -> str:
    """A finished federation."""
    return platform.finished("told by streams", rounds=4, count=2)


class Stream:
    """One open stream."""

    def __init__(self, platform: Platform, federation: str, cookie: str, last: int | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=30)
        headers = {"Cookie": cookie} | ({} if last is None else {"Last-Event-ID": str(last)})
        self._connection.request("GET", f"/deployments/{federation}/events/", headers=headers)
        self.answer = self._connection.getresponse()

    def events(self) -> Iterator[tuple[int, str]]:
        """(id, kind) of each event, until the stream ends."""
        number = -1
        for line in self.answer:
            if line.startswith(b"id: "):
                number = int(line[4:])
            elif line.startswith(b"data: "):
                yield number, json.loads(line[6:])["kind"]

    def close(self) -> None:
        """Hang up."""
        self.answer.close()
        self._connection.close()


def all_of(platform: Platform, federation: str, cookie: str, last: int) -> list[tuple[int, str]]:
    """The events after `last`, up to the run's end."""
    with contextlib.closing(Stream(platform, federation, cookie, last)) as stream:
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


def test_streams_starve_nobody_and_are_given_back(platform: Platform, told: str, cookie: str) -> None:
    """Beside fifty open streams requests are answered; beyond the last place 503 is; closed ones are free again."""
    streams: list[Stream] = []
    try:
        for _ in range(MANY):
            streams.append(Stream(platform, told, cookie))
            assert streams[-1].answer.status == 200
        for _ in range(10):
            assert platform.api("GET", f"deployments/{told}/")["state"] == "finished"
        while streams[-1].answer.status == 200:
            assert len(streams) <= PLACES, "more streams than there are places"
            streams.append(Stream(platform, told, cookie))
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
        stream = Stream(platform, federation, cookie)
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
