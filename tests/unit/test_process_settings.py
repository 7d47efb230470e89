"""A process's settings: what variables and options say, what is refused, and what `--help` and the page tell."""

from __future__ import annotations

import argparse
from typing import Annotated

import msgspec
import pytest

from backend.gate.web import Web
from backend.launchers.settings import LauncherSettings as Launcher
from mainstem.aggregator.__main__ import WorkerSettings as Aggregator
from mainstem.aggregator.__main__ import main as aggregator
from mainstem.errors import ConfigError
from mainstem.runtime.fields import fields_of, said
from mainstem.runtime.settings import add_options, from_environ, from_options, rows, variables
from mainstem.runtime.variables import Variable


class Example(msgspec.Struct, frozen=True):
    """One of each kind."""

    most: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None, said("Most", "So many.", variable="A_MOST", otherwise="the cores")
    ] = None
    share: Annotated[float, said("Share", "Of all.", unit="s", variable="A_SHARE")] = 0.5
    loud: Annotated[bool, said("Loud", "Louder.", variable="A_LOUD")] = False
    name: Annotated[str, said("Name", "Whose.", variable="A_NAME")] = "ours"


def test_variables() -> None:
    """A blank one is not given; numbers, flags and texts are read as what they are."""
    assert from_environ(Example, {"A_MOST": " "}) == Example()
    given = {"A_MOST": " 7", "A_SHARE": "2", "A_LOUD": "Yes", "A_NAME": "7", "OTHER": "x"}
    assert from_environ(Example, given) == Example(most=7, share=2.0, loud=True, name="7")
    for name, value in (
        ("A_MOST", "0"),
        ("A_MOST", "many"),
        ("A_SHARE", "nan"),
        ("A_SHARE", "1e3"),
        ("A_LOUD", "perhaps"),
    ):
        with pytest.raises(ConfigError, match=rf"^{name} is '?{value}'?; it must be "):
            from_environ(Example, {name: value})


def test_options() -> None:
    """Each has its sentence, unit and default in `--help`; a wrong one is named."""
    parser = argparse.ArgumentParser()
    add_options(parser, Example)
    told = " ".join(parser.format_help().split())
    assert "--most N So many (default: the cores)" in told and "--share VALUE Of all (seconds; default: 0.5)" in told
    assert from_options(Example, parser.parse_args(["--most", "3"])) == Example(most=3)
    with pytest.raises(ConfigError, match=r"^--most is 0; it must be a whole number from 1$"):
        from_options(Example, parser.parse_args(["--most", "0"]))


def test_in_words() -> None:
    """For `--help`, and for a page's table."""
    assert variables(Example)[:2] == (
        Variable("A_MOST", "So many", None, "the cores"),
        Variable("A_SHARE", "Of all, in seconds", "0.5", "0.5"),
    )
    assert list(rows(Example))[:2] == [
        ("A_MOST", "So many.", "a whole number from 1", "the cores"),
        ("A_SHARE", "Of all.", "a number of seconds", "`0.5`"),
    ]


def test_the_aggregator_refuses_what_it_cannot_use(capsys: pytest.CaptureFixture[str]) -> None:
    """With the option's name, before it looks for Kafka."""
    assert aggregator(["--bootstrap", "localhost:1", "--slots", "0"]) == 2
    assert "--slots is 0; it must be a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [Aggregator, Launcher, Web])
def test_every_setting_says_what_it_is(settings: type[msgspec.Struct]) -> None:
    """A sentence, and a default or what holds in its place."""
    for field in fields_of(settings).values():
        assert field.sentence.endswith(".") and (field.default_text or field.otherwise), field.name
