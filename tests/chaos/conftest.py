"""One stage a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.platform import PlatformStage
from tests.chaos.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage of its own for one test: a broker, and what the test starts."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformStage]:
    """A stage of its own for one test, with the whole platform on it."""
    stage = PlatformStage(tmp_path)
    yield stage
    stage.close()
