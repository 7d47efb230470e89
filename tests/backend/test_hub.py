"""When live pages begin anew."""

from __future__ import annotations

import pytest

from backend.deployments.live.hub import _made_anew
from backend.deployments.models import Deployment

KNOWN = {"id": 1, "cluster_id": "c", "topic_id": "t"}


@pytest.mark.parametrize(
    ("before", "after", "anew"),
    [
        ({"id": 1}, KNOWN, False),  # its first record has come
        (KNOWN, KNOWN, False),
        (KNOWN, {**KNOWN, "refolds": 1}, True),
        (KNOWN, {**KNOWN, "id": 2}, True),
        (KNOWN, {**KNOWN, "topic_id": "u"}, True),
        (KNOWN, {**KNOWN, "cluster_id": "d"}, True),
    ],
)
def test_pages_begin_anew_only_where_the_rows_did(before: dict[str, str], after: dict[str, str], anew: bool) -> None:
    """A page that was opened before the run's first record goes on with it; other rows or another topic reset it."""
    assert _made_anew(Deployment(**before), Deployment(**after)) is anew
