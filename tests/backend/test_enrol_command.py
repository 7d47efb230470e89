"""`mainstem enrol` against the real web server, and many that come with one token at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mainstem.protocol.enrolment import proof_of
from mainstem.protocol.signing import SigningKey
from mainstem.rest import Api
from tests.support.web import Server, fetch, serving

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, on a database of its own."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def token_for(server: Server) -> Iterator[Callable[[str], str]]:
    """Makes an enrolment token, as the admin."""
    with Api(f"http://127.0.0.1:{server.port}", server.token()) as api:
        yield lambda name: str(api.post("sites/tokens/", {"name": name})["token"])


@pytest.fixture
def enrol(server: Server, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a folder of its own."""

    def run(*arguments: str, stdin: str = "", port: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mainstem.cli", "enrol", "--url", f"http://127.0.0.1:{port or server.port}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSTEM_")}
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_site_enrols_itself(enrol: Any, token_for: Any, server: Server, tmp_path: Path) -> None:
    """The key is made here and stays here; what was told stands beside it; what to set is printed."""
    done = enrol("--token", token_for("north"), "--name", "north")
    assert done.returncode == 0, done.stderr
    key_file, told = tmp_path / "site" / "site.key", json.loads((tmp_path / "site" / "site.json").read_text())
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    public = SigningKey.from_pem(key_file.read_bytes()).public
    assert (told["name"], told["key"], told["platform"]) == ("north", public, None)
    assert f"export MAINSTEM_SITE_KEY_FILE={key_file}" in done.stdout
    assert f"kubectl create secret generic mainstem-site --from-file=site.key={key_file}" in done.stdout
    with Api(f"http://127.0.0.1:{server.port}", server.token()) as api:
        (site,) = api.get("sites/", name="north")["results"]
    assert (site["key"], site["standing"]) == (public, "enrolled")
    before = key_file.read_bytes()
    again = enrol("--token", token_for("north-2"))
    assert again.returncode == 2 and "nothing is overwritten, so give another --out" in again.stderr
    assert key_file.read_bytes() == before


def test_a_lost_answer_is_asked_for_again(enrol: Any, token_for: Any, tmp_path: Path) -> None:
    """Where nobody answered the key is kept, and the same command goes on with it; so it does after a lost answer."""
    token = token_for("east")
    away = enrol("--token", "-", stdin=f"{token}\n", port=9)
    assert away.returncode == 1 and "does not answer" in away.stderr
    key = (tmp_path / "site" / "site.key").read_bytes()
    for _ in range(2):
        done = enrol("--json", "--token", "-", stdin=f"{token}\n")
        assert done.returncode == 0 and json.loads(done.stdout)["name"] == "east"
        (tmp_path / "site" / "site.json").unlink()
    assert (tmp_path / "site" / "site.key").read_bytes() == key


def test_refusals_are_sentences_and_leave_nothing(enrol: Any, token_for: Any, tmp_path: Path) -> None:
    """A wrong token, a used one, another site's: the exit code is 1, and no key stays behind."""
    token = token_for("south")
    assert enrol("--token", token, "--out", "first").returncode == 0
    for arguments, sentence in (
        (("--token", "guessed"), "This enrolment token is not known: copy the whole of it, or ask for another one."),
        (("--token", token), "it counts once: ask for another one."),
        (("--token", token_for("west"), "--name", "south"), "This token is for the site west"),
    ):
        done = enrol(*arguments)
        assert done.returncode == 1 and sentence in done.stderr, done.stderr
        assert not (tmp_path / "site" / "site.key").exists()
    for file in ("first/site.key", "first/site.json"):
        assert (tmp_path / file).exists()
    helped = enrol("--help")
    assert helped.returncode == 0 and "never leaves it" in " ".join(helped.stdout.split())


def test_many_at_once_with_one_token(token_for: Any, server: Server) -> None:
    """Twelve keys, one site: the others are told that the token is used."""
    token = token_for("centre")

    def come(number: int) -> tuple[int, str]:
        key = SigningKey.generate()
        body = {"token": token, "key": key.public, "proof": proof_of(key, token)}
        status, _ = fetch(server.port, "/api/sites/enrol/", json.dumps(body).encode(), Content_Type="application/json")
        return status, key.public

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(come, range(12)))
    # beyond ten refusals from an address the rest must wait
    assert sorted(status for status, _ in answers)[0] == 201 and {status for status, _ in answers} <= {201, 400, 429}
    (winner,) = [public for status, public in answers if status == 201]
    with Api(f"http://127.0.0.1:{server.port}", server.token()) as api:
        (site,) = api.get("sites/", name="centre")["results"]
    assert site["key"] == winner
