"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.config import environment as env
from mainstem.errors import ConfigError

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


def test_secret_from_file(tmp_path: Path) -> None:
    """A secret may stand in a file; the file wins, and one that cannot be read is named."""
    (tmp_path / "key").write_text("from file\n")
    assert env.secret("KEY", {"KEY": "plain", "KEY_FILE": str(tmp_path / "key")}) == "from file"
    assert env.secret("KEY", {"KEY": " plain "}) == "plain" and env.secret("KEY", {}) == ""
    with pytest.raises(ConfigError, match="KEY_FILE"):
        env.secret("KEY", {"KEY_FILE": str(tmp_path / "absent")})


def test_flags_and_numbers() -> None:
    """Flags and numbers are read strictly."""
    assert env.flag("F", environ={"F": "Yes"}) and not env.flag("F", environ={"F": "off"}) and env.flag("F", True, {})
    assert env.number("N", 7, {}) == 7 and env.number("N", 7, {"N": "12"}) == 12
    assert env.words("W", environ={"W": "a, b c"}) == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="F is"):
        env.flag("F", environ={"F": "maybe"})
    for bad in ("-1", "0", "x", "1.5", "9" * 30):
        with pytest.raises(ConfigError, match="N is"):
            env.number("N", 7, {"N": bad})
