"""What is taken as JSON, and as a name: pure."""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.rest.strict_json import DEEPEST, JsonError, check_keepable, json_value

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_can_be_kept_comes_back(value: Any, escaped: bool) -> None:
    """Every value that JSON and a database can hold is taken as it is."""
    assert json_value(json.dumps(value, ensure_ascii=escaped)) == value


@given(VALUES, st.sampled_from([math.nan, math.inf, -math.inf, "a\0b", "\ud800", {"\0": 1}, {"\udfff": 1}]))
def test_what_cannot_be_kept_is_refused_wherever_it_is(value: Any, bad: Any) -> None:
    """NaN, infinities, NUL and halves of surrogate pairs, in values and names; `field` leads there."""
    holder = {"a": [value, {"b.c": bad}]}
    with pytest.raises(JsonError) as refused:
        json_value(json.dumps(holder))
    assert str(refused.value).endswith(".")
    with pytest.raises(JsonError) as refused:
        check_keepable(holder)
    assert refused.value.field.startswith("a.1.b.c")


@given(st.text(max_size=60) | st.text('[]{}:,"\\u0d8e1-9nftN ', max_size=60))
def test_any_text_is_a_value_or_a_sentence(text: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(JsonError):
        json_value(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1e999", "1e999 is larger than any number that can be kept."),
        ('{"a": -1e400}', "-1e400 is larger than"),
        ("NaN", "This is not JSON: NaN is no number there."),
        ("[Infinity]", "This is not JSON: Infinity is no number there."),
        ('{"rounds": 5, "x": 1, "rounds": 3}', "'rounds' is given twice."),
        (
            '{"a": "\\u0000"}',
            "This text holds a NUL or half of a surrogate pair, which no database keeps: leave it out.",
        ),
        ('"\\ud83d"', "half of a surrogate pair"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"This is nested more than {DEEPEST} levels deep."),
        ("[" * 100_000, f"This is nested more than {DEEPEST} levels deep."),
        ("{", "This is not JSON: Expecting property name"),
        ("9" * 5000, "This is not JSON: Exceeds the limit"),
    ],
)
def test_sentences(text: str, sentence: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(JsonError) as refused:
        json_value(text)
    assert sentence in str(refused.value)


def test_as_deep_as_may_be() -> None:
    """The limit itself is taken, and a whole surrogate pair is one character."""
    assert json_value("[" * DEEPEST + "]" * DEEPEST) is not None
    assert json_value('"\\ud83d\\ude00"') == unicodedata.lookup("GRINNING FACE")
