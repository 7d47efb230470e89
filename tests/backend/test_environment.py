"""Settings from the environment."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.gate.web import Web, host_names, web, words
from backend.project import environment as env
from mainstem.errors import ConfigError
from mainstem.platform.home import Home

pytestmark = pytest.mark.backend


def test_sqlite_by_default(tmp_path: Path) -> None:
    """Without DATABASE_URL the database is a file in the state directory, shared safely by processes."""
    settings = env.database({"MAINSTEM_HOME": str(tmp_path)})
    assert settings["NAME"] == str(tmp_path / "db.sqlite3")
    assert "WAL" in settings["OPTIONS"]["init_command"] and settings["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_postgresql() -> None:
    """DATABASE_URL names a PostgreSQL database."""
    settings = env.database({"DATABASE_URL": "postgres://me:pw@db:5433/mainstem?sslmode=require"})
    assert settings["ENGINE"].endswith("postgresql")
    assert (settings["HOST"], settings["PORT"], settings["NAME"]) == ("db", 5433, "mainstem")


@pytest.mark.parametrize("url", ["mysql://me@db/x", "nonsense", "oracle://x"])
def test_other_databases(url: str) -> None:
    """What is not supported is refused, and the variable named."""
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        env.database({"DATABASE_URL": url})


PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(PASSWORDS, PASSWORDS.filter(bool), st.sampled_from(["db:5432", "[::1]:5432", "db"]), st.booleans())
def test_a_password_may_hold_anything(user: str, password: str, where: str, encoded: bool) -> None:
    """As it is (but for `%` before two digits), or percent-encoded."""
    name = quote(user, safe="")
    word = quote(password, safe="") if encoded else re.sub("%(?=[0-9A-Fa-f]{2})", "%25", password)
    settings = env.database({"DATABASE_URL": f"postgres://{name}:{word}@{where}/mainstem?sslmode=require".strip()})
    assert (settings["USER"], settings["PASSWORD"], settings["NAME"]) == (user, password, "mainstem")
    assert (settings["HOST"], settings["PORT"]) == ("::1" if "::1" in where else "db", 5432 if ":5" in where else "")
    assert settings["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url", ["postgres://me:SECRET#x@db:port/x", "postgres://me:SECRET@db", "mysql://me:SECRET@db/x"]
)
def test_no_password_is_told(url: str) -> None:
    """Neither in the sentence nor in what it came from."""
    with pytest.raises(ConfigError) as caught:
        env.database({"DATABASE_URL": url})
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("folder", ["a#b", "a?b=1", "a%20b", "ä b"])
def test_a_state_directory_may_be_called_anything(tmp_path: Path, folder: str) -> None:
    """Its database stands in it, and not beside it under a part of the name."""
    home = Home(tmp_path / folder)
    for environ in ({"MAINSTEM_HOME": str(home.root)}, {"DATABASE_URL": home.database_url}):
        assert env.database(environ)["NAME"] == str(home.database)
    assert env.database({"DATABASE_URL": "sqlite:////x/a#b?c"})["NAME"] == "/x/a#b?c"


def test_ipv6_hosts_get_their_brackets() -> None:
    """Django compares them so."""
    assert host_names("localhost, ::1 [fd00::5] 10.0.0.1") == ["localhost", "[::1]", "[fd00::5]", "10.0.0.1"]


def test_secret_from_file(tmp_path: Path) -> None:
    """A secret may stand in a file; the file wins, and one that cannot be read is named."""
    (tmp_path / "key").write_text("from file\n")
    assert env.secret("KEY", {"KEY": "plain", "KEY_FILE": str(tmp_path / "key")}) == "from file"
    assert env.secret("KEY", {"KEY": " plain "}) == "plain" and env.secret("KEY", {}) == ""
    with pytest.raises(ConfigError, match="KEY_FILE"):
        env.secret("KEY", {"KEY_FILE": str(tmp_path / "absent")})


def test_a_web_process_s_variables() -> None:
    """Flags and numbers are read strictly; a wrong one is named."""
    said = web({"MAINSTEM_HTTPS": "Yes", "MAINSTEM_KAFKA_SECONDS": "12", "MAINSTEM_REQUEST_SECONDS": "2.5"})
    assert (said.https, said.debug, said.kafka_seconds, said.request_seconds) == (True, False, 12, 2.5)
    assert web({}) == Web() and words("a, b c") == ["a", "b", "c"]
    with pytest.raises(ConfigError, match=r"^MAINSTEM_HTTPS is 'maybe'; it must be true or false$"):
        web({"MAINSTEM_HTTPS": "maybe"})
    for bad in ("-1", "0", "x", "1.5", "1_0", "٣", "9" * 30):
        with pytest.raises(ConfigError, match=r"^MAINSTEM_KAFKA_SECONDS is "):
            web({"MAINSTEM_KAFKA_SECONDS": bad})
