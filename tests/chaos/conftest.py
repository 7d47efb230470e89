"""One stage a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage of its own for one test."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()
