"""The table of docs/values.md is what happens."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from mainstem.errors import MainstemError
from tests.support.values import COMMAND, PAGE, Case, cases, page

CASES = list(cases())


def test_the_page_is_current() -> None:
    """What is published is what the code does now."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), f"docs/values.md is not current: run `{COMMAND}`"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.stored} {case.value} {case.model}")
def test_no_value_changes_silently(case: Case) -> None:
    """A whole number is seen as it is or refused; a decimal to its last digit; a fraction as the nearest."""
    try:
        seen = case.seen()
    except MainstemError:
        return
    stored = case.value
    if isinstance(stored, Decimal):
        assert Fraction(str(seen)) == Fraction(stored)
        return
    number = (
        Fraction(str(stored).split(" = ")[-1])
        if isinstance(stored, str)
        else Fraction(getattr(stored, "item", lambda: stored)())
    )
    if number.denominator == 1 and not case.stored.endswith(("float64", "double")):
        assert seen.item() == number
    else:
        assert seen == seen.dtype.type(float(number))
