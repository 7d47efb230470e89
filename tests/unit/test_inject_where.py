"""Which Kafka the injection scripts write to where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from inject_scripts import console
from mainstem.platform.home import Home, Running


def platform(root: Path, kafka: str) -> Home:
    """A home whose platform says that it runs."""
    home = Home(root)
    home.make()
    home.tell(Running(pid=1, port=8000, api="http://localhost:8000", kafka=kafka))
    return home


def test_the_platform_that_runs_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variables first; then the working directory's platform, then the checkout's; else that of ./port_fwd.sh."""
    for name in ("DATA_BOOTSTRAP_SERVERS", "KML_CLOUD_BOOTSTRAP_SERVERS", "MAINSTEM_HOME"):
        monkeypatch.delenv(name, raising=False)
    checkout, here = tmp_path / "checkout", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(console, "CHECKOUT", checkout)
    assert console.default_bootstrap() == "localhost:31162"
    of_checkout = platform(checkout / ".mainstem", "localhost:9092")
    assert console.default_bootstrap() == "localhost:31162"  # it ran once, and does not now
    with of_checkout.held():
        assert console.default_bootstrap() == "localhost:9092"
        with platform(here / ".mainstem", "localhost:9093").held():
            assert console.default_bootstrap() == "localhost:9093"
        monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", "cloud:9092")
        assert console.default_bootstrap() == "cloud:9092"
        monkeypatch.setenv("DATA_BOOTSTRAP_SERVERS", "kafka:9092")
        assert console.default_bootstrap() == "kafka:9092"
