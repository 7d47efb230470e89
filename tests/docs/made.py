"""Parts of files that are made from the code, between markers: `python -m tests.docs.made` writes them.

In a page they stand between `<!-- made: NAME -->` and `<!-- end of NAME -->`, in YAML behind `#`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from msgspec import Struct

from backend.audit.actions import ACTIONS
from backend.gate.web import Web
from backend.launchers.settings import LauncherSettings as Launcher
from mainstem.aggregation.strategies import CHOICES, STRATEGIES, Preset
from mainstem.jobs.compiling import SCHEDULES
from mainstem.jobs.forests import ForestParams
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.operator import schema
from mainstem.protocol.encodings import ENCODINGS
from mainstem.protocol.messages import Rules, Training
from mainstem.rounds.parameters import OWN_OF_MODES, PARAMETERS, choosing
from mainstem.rounds.selection import SELECTIONS
from mainstem.runtime.fields import Field, fields_of
from mainstem.runtime.settings import rows

ROOT = Path(__file__).resolve().parents[2]
_PART = re.compile(
    r"^(?P<indent> *)(?:<!--|#) made: (?P<name>[\w -]+?)(?: -->)?\n(?P<old>.*?)^ *(?:<!--|#) end of (?P=name)",
    re.MULTILINE | re.DOTALL,
)


def table(fields: Iterable[Field], named: Callable[[str], str] = str) -> Iterator[str]:
    """A page's table of fields: name, sentence, what a value must be, default."""
    yield ""
    yield "| field | meaning | value | default |"
    yield "| --- | --- | --- | --- |"
    for field in fields:
        default = f"`{field.default_text}`" if field.default_text else ""
        modes = OWN_OF_MODES.get(field.name)
        only = f" (Mode {' or '.join(f'`{mode}`' for mode in modes)}.)" if modes else ""
        yield f"| `{named(field.name)}` | {field.sentence}{only} | {field.must} | {default} |"
    yield ""


def summaries(of: Mapping[str, object]) -> Iterator[str]:
    """A page's table of what a registry has."""
    yield ""
    yield "| name | what it does |"
    yield "| --- | --- |"
    for name, way in of.items():
        yield f"| `{name}` | {getattr(way, 'summary', '')} |"
    yield ""


def strategies() -> Iterator[str]:
    """A page's table of strategies: which choices each is made of, and what can be asked of it."""
    yield ""
    yield f"| strategy | what it does | {' | '.join(_TOLD)} | parameters, with defaults |"
    yield f"| --- | --- | {' | '.join('---' for _ in _TOLD)} | --- |"
    for name, preset in STRATEGIES.items():
        kinds = [" or ".join(f"`{one}`" for one in _offered(preset, kind)) for kind in _TOLD]
        own = ", ".join(f"`{o.field.name}` `{o.field.default_text}`" for o in preset.parameters() if o.choice)
        if len(preset.free) > 1:
            kinds, own = ["any"] * len(_TOLD), "those of its choices"
        yield f"| `{name}` | {preset.summary} | {' | '.join(kinds)} | {own} |"
    yield ""


def schedules() -> Iterator[str]:
    """A page's table of the learning rate's schedules, each with its parameters."""
    yield ""
    yield "| schedule | what it does | parameter | meaning | value | default |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, schedule in SCHEDULES.items():
        start = f"| `{name}` | {schedule.summary} "
        for field in fields_of(schedule.Params).values():
            default = f"`{field.default_text}`" if field.default_text else ""
            yield f"{start}| `{field.name}` | {field.sentence} | {field.must} | {default} |"
            start = "| | "
    yield ""


def choices() -> Iterator[str]:
    """A page's table of choices, each with its parameters."""
    yield ""
    yield "| kind | choice | what it does | parameter | meaning | value | default |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for kind in _TOLD:
        for name, choice in CHOICES[kind].items():
            start = f"| `{kind}` | `{name}` | {choice.summary} "
            for field in fields_of(choice.Params).values():
                default = f"`{field.default_text}`" if field.default_text else ""
                yield f"{start}| `{field.name}` | {field.sentence} | {field.must} | {default} |"
                start = "| | | "
            if start != "| | | ":
                yield f"{start}| | | | |"
    yield ""


_TOLD = tuple(kind for kind, choices in CHOICES.items() if len(choices) > 1)


def _offered(preset: Preset, kind: str) -> tuple[str, ...]:
    return preset.free.get(kind, (getattr(preset, kind),))


def variables(settings: type[Struct]) -> Iterator[str]:
    """A page's table of the variables that a process reads."""
    yield ""
    yield "| variable | meaning | value | default |"
    yield "| --- | --- | --- | --- |"
    for row in rows(settings):
        yield "| `{}` | {} | {} | {} |".format(*row)
    yield ""


def actions() -> Iterator[str]:
    """A page's table of what is recorded of people and programs."""
    yield ""
    yield "| action | somebody |"
    yield "| --- | --- |"
    for name, did in ACTIONS.items():
        yield f"| `{name}` | {did} |"
    yield ""


def definition() -> Iterator[str]:
    """The parameters in the definition of FederatedDeployment, one a line."""
    for name, described in schema.properties().items():
        yield f"{name}: {yaml.safe_dump(described, default_flow_style=True, sort_keys=False, width=10_000).strip()}"


PARTS: Mapping[str, Mapping[str, Callable[[], Iterable[str]]]] = {
    "docs/audit.md": {"actions": actions},
    "docs/rest.md": {"parameters": lambda: table(PARAMETERS.values())},
    "docs/forests.md": {"forest": lambda: table(fields_of(ForestParams).values())},
    "docs/encodings.md": {"encodings": lambda: summaries(ENCODINGS)},
    "docs/keras.md": {"schedules": schedules},
    "docs/strategies.md": {"strategies": strategies, "choices": choices},
    "docs/kubernetes-jobs.md": {
        "launcher": lambda: variables(Launcher),
        "job settings": lambda: table(fields_of(JobSettings).values()),
    },
    "docs/modes.md": {"selections": lambda: summaries(SELECTIONS)},
    "docs/operations.md": {"web process": lambda: variables(Web)},
    "docs/protocol.md": {
        "rules": lambda: table(map(choosing, fields_of(Rules).values())),
        "training": lambda: table(fields_of(Training).values()),
    },
    "kustomize/components/operator/crd.yaml": {"parameters": definition},
}
"""Files, with the parts that they have."""


def made(path: str) -> str:
    """The file's text, its parts as the code has them now; raises KeyError for a part that nobody makes."""

    def part(found: re.Match[str]) -> str:
        text = found[0]
        lines = [f"{found['indent']}{line}".rstrip() + "\n" for line in PARTS[path][found["name"]]()]
        first, last = found.start("old") - found.start(), found.end("old") - found.start()
        return text[:first] + "".join(lines) + text[last:]

    return _PART.sub(part, (ROOT / path).read_text("utf-8"))


def names(path: str) -> list[str]:
    """The parts that the file has markers of."""
    return [found["name"] for found in _PART.finditer((ROOT / path).read_text("utf-8"))]


def main() -> int:
    """Write them all."""
    for path in PARTS:
        (ROOT / path).write_text(made(path), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
