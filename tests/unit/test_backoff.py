"""Pauses between tries: they grow, are bounded, and are not the same for many who wait for one."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mainstem.runtime.backoff import Backoff, pause


@given(st.integers(1, 10_000), st.floats(0.001, 10.0), st.floats(0.001, 1000.0))
def test_a_pause_doubles_up_to_its_bound(failures: int, first: float, longest: float) -> None:
    """However often it failed, without overflow."""
    assert pause(1, first, longest) == min(first, longest) == pause(0, first, longest)
    assert 0 < pause(failures, first, longest) <= longest
    assert pause(failures, first, longest) <= pause(failures + 1, first, longest) <= 2 * pause(failures, first, longest)


@given(st.integers(0, 2**32), st.integers(1, 50))
def test_jitter_takes_at_most_half_of_it(seed: int, failures: int) -> None:
    """So two seldom come back together; once it works again the count begins anew."""
    backoff = Backoff(first=0.2, longest=5.0, random=random.Random(seed))
    assert not backoff.failing
    for number in range(1, failures + 1):
        assert pause(number, 0.2, 5.0) / 2 <= backoff.next() <= pause(number, 0.2, 5.0)
    backoff.reset()
    assert backoff.next() <= 0.2
