"""A struct's fields say themselves what they are; what is made from that is what the struct takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.protocol.messages import Data, Rules, Training
from mainstem.rounds.parameters import OWN_OF_MODES, PARAMETERS, RULES, help_of
from mainstem.rounds.parameters import given as take
from mainstem.runtime.fields import Asked, checked, fields_of, said
from tests.docs import made


class Example(msgspec.Struct, frozen=True):
    """One field of each kind."""

    must: int
    share: Annotated[float, msgspec.Meta(gt=0, le=1), said("Share", "Of all.")] = 0.5
    pause_ms: Annotated[
        Annotated[int, msgspec.Meta(ge=0)],
        msgspec.Meta(title="Pause", description="So long.", extra={"unit": "ms", "asked": Asked(500, 90_000, "pause")}),
    ] = 1500
    most: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, said("Most", "At most.", unit="rounds")] = None
    way: Annotated[Literal["up", "down"], said("Way", "Whereto.")] = "up"
    loud: bool = False
    list_: tuple[int, ...] = ()


def test_what_a_field_says() -> None:
    """Kind, bounds, unit, default, sentence; also by msgspec's own annotation."""
    fields = fields_of(Example)
    assert [(field.name, field.must) for field in fields.values()] == [
        ("must", "a whole number"),
        ("share", "a number above 0 and at most 1"),
        ("pause_ms", "a whole number of milliseconds from 0"),
        ("most", "a whole number of rounds from 1"),
        ("way", "one of down, up"),
        ("loud", "true or false"),
        ("list_", "a list"),
    ]
    assert fields["must"].required and not fields["share"].required and fields["most"].optional
    assert (fields["share"].hint, fields["share"].help) == ("Of all. Above 0 and at most 1.", "Of all. Default: 0.5.")
    assert fields["way"].help == "Whereto. One of down, up. Default: up." and fields["most"].default_text == "null"
    assert fields["share"].schema() == {
        "type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "description": "Of all. Default: 0.5.",
    }  # fmt: skip
    assert fields["way"].schema()["enum"] == ["down", "up"]


def test_people_ask_in_seconds_and_within_narrower_bounds() -> None:
    """By the name that they use; the default is the same time."""
    asked = fields_of(Example)["pause_ms"].as_asked()
    assert (asked.name, asked.least, asked.most, asked.unit, asked.default) == ("pause", 0.5, 90, "s", 1.5)
    assert asked.must == "a number of seconds from 0.5 to 90" and asked.help == "So long. In seconds. Default: 1.5."


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers())


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(fields_of(Example), VALUES)))
def test_checked_takes_what_the_struct_takes(values: dict[str, Any]) -> None:
    """Else the sentence begins with a field that is wrong, and says what it must be."""
    try:
        made_ = checked(Example, values, "not a setting", "x.{}".format)
    except ConfigError as error:
        sentence = str(error)
    else:
        assert made_ == msgspec.convert(values, Example)
        return
    name = sentence.removeprefix("x.").split()[0]
    said_ = "missing" if name not in values else repr(values[name])[:57]
    assert sentence.startswith(f"x.{name} is {said_}")
    assert sentence.endswith(f"; it must be {fields_of(Example)[name].must}")


def test_an_unknown_field_is_refused_with_those_that_there_are() -> None:
    """It is named, cut where it is long."""
    with pytest.raises(ConfigError, match=r"^x\.a{60} is not a setting; there are must, share, "):
        checked(Example, {"a" * 99: 1}, "not a setting", "x.{}".format)


# ---------------------------------------------------------------- what people may ask of a run
def test_nothing_asked_is_the_default() -> None:
    """And null, where null is no value, asks for nothing."""
    nothing = dict.fromkeys(PARAMETERS)
    assert take(RULES, nothing) == take(RULES, {}) == RULES
    assert take(Training(), nothing) == Training() and take(Data(), nothing) == Data()


@given(st.data())
def test_every_parameter_reaches_its_struct(data: st.DataObject) -> None:
    """Numbers within their bounds are values that the log's readers take; seconds become milliseconds."""
    plain = {name: field for name, field in PARAMETERS.items() if field.kind in ("whole", "number") and field.most}
    asked = {name: data.draw(st.integers(int(f.least or 0), int(f.most or 0)), name) for name, f in plain.items()}
    assert take(RULES, asked).deadline_ms == asked["round_deadline"] * 1000
    for made_ in (take(RULES, asked), take(Training(), asked)):
        assert msgspec.json.decode(msgspec.json.encode(made_), type=type(made_)) == made_
        assert {n: v for n, v in asked.items() if getattr(made_, n, v) != v} == {}


def test_each_parameter_says_what_it_is() -> None:
    """A title, and a sentence; those of a mode name it."""
    for struct in (Rules, Training, Data):
        for field in fields_of(struct).values():
            assert field.title and field.sentence.endswith(".") and len(field.sentence) <= 110, field.name
    for name in PARAMETERS:
        assert ("In mode" in help_of(name)) == (name in OWN_OF_MODES)


# ---------------------------------------------------------------- what is made from it
@pytest.mark.parametrize("path", made.PARTS)
def test_made_parts_are_as_the_code_makes_them(path: str) -> None:
    """`python -m tests.docs.made` writes them."""
    assert sorted(made.names(path)) == sorted(made.PARTS[path])
    assert (made.ROOT / path).read_text("utf-8") == made.made(path), "run `python -m tests.docs.made`"
