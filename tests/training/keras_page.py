"""The tables of `docs/keras.md` about losses, metrics and optimizers, from the data that settings are checked by."""

from __future__ import annotations

import textwrap
from typing import Any

from mainstem.jobs.compiling import LOSS, METRIC, OPTIMIZER, Spec, input_of, values_of
from mainstem.jobs.compiling.bounds import problem_of
from mainstem.jobs.compiling.specs import REFUSED, names, table

UNDEFINED = {
    "AUC": "all samples are of one class (with `curve` `PR`: none is positive; with `multi_label`: in any label)",
    "SensitivityAtSpecificity": "all samples are of one class",
    "SpecificityAtSensitivity": "all samples are of one class",
    "PrecisionAtRecall": "no sample is positive",
    "RecallAtPrecision": "no sample is positive",
    "Precision": "nothing is found positive",
    "Recall": "no sample is positive",
    "F1Score": "a class is neither there nor found (`weighted`: none is there)",
    "FBetaScore": "a class is neither there nor found (`weighted`: none is there)",
    "R2Score": "the labels of an output are all equal",
    "PearsonCorrelation": "a label or an output is constant along `axis`",
    "ConcordanceCorrelation": "a label or an output is constant along `axis`",
    "CosineSimilarity": "a label or an output is all 0 along `axis`",
    "MeanAbsolutePercentageError": "a label is 0",
    "BinaryIoU": "no target class is there or found", "IoU": "no target class is there or found",
    "MeanIoU": "no class is there or found", "OneHotIoU": "no target class is there or found",
    "OneHotMeanIoU": "no class is there or found",
}  # fmt: skip
"""Where a metric has no value."""


def sections() -> dict[str, str]:
    """What stands between each pair of markers."""
    return {kind: f"{_rows(kind)}\n{_bounds(kind)}\n{_refused(kind)}" for kind in (LOSS, METRIC, OPTIMIZER)}


def page(text: str) -> str:
    """The page with its tables as they are now; everything outside the markers stays."""
    for kind, section in sections().items():
        begin, end = f"<!-- {kind} -->\n", f"<!-- /{kind} -->\n"
        before, _, rest = text.partition(begin)
        text = before + begin + section + end + rest.partition(end)[2]
    return text


def _rows(kind: str) -> str:
    heads = {
        LOSS: ("loss", "labels", "arguments"),
        METRIC: ("metric", "reported as", "values", "has none where", "arguments"),
        OPTIMIZER: ("optimizer", "arguments"),
    }[kind]
    common = _common() if kind == OPTIMIZER else []
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    if common:
        lines.append(f"| each | {', '.join(f'`{argument}`' for argument in common)} |")
    for name in names(kind):
        entry = table()[kind][name]
        arguments = ", ".join(
            f"**`{argument}`**" if argument in entry["required"] else f"`{argument}`"
            for argument in entry["arguments"]
            if argument not in ("name", "dtype", *common)
        )
        own: tuple[str, ...] = ()
        if kind == LOSS:
            own = ("class numbers" if input_of([1], "float32", [3], name).numbered else "the output's shape",)
        elif kind == METRIC:
            own = (f"`{entry['name']}`", _values(name, entry), UNDEFINED.get(name, ""))
        lines.append(f"| {' | '.join((f'`{name}`', *own, arguments))} |")
    return "\n".join(lines) + "\n"


def _common() -> list[str]:
    """The arguments that every optimizer has."""
    found = [table()[OPTIMIZER][name]["arguments"] for name in names(OPTIMIZER)]
    return [argument for argument in found[0] if argument != "name" and all(argument in each for each in found)]


def _values(name: str, entry: dict[str, Any]) -> str:
    if values_of(Spec(METRIC, name), (7,)) == 7:
        return "one a class"
    return "one a threshold" if "thresholds" in entry["arguments"] and name != "AUC" else "1"


def _bounds(kind: str) -> str:
    found: dict[str, dict[str, list[str]]] = {}
    for name in names(kind):
        for argument in table()[kind][name]["arguments"]:
            found.setdefault(argument, {}).setdefault(_bound(name, argument), []).append(name)
    lines = ["| argument | bounds |", "| --- | --- |"]
    for argument, bounds in sorted(found.items()):
        most = max(bounds, key=lambda bound: len(bounds[bound]))
        others = [f"of `{'`, `'.join(of)}` {bound}" for bound, of in bounds.items() if bound != most]
        lines.append(f"| `{argument}` | {'; '.join([most, *others])} |")
    return "Arguments in bold must be given.\n\n" * any("**" in row for row in [_rows(kind)]) + "\n".join(lines) + "\n"


def _bound(name: str, argument: str) -> str:
    told = problem_of(name, argument, "\0") or ""
    bound = told.split("it must be ", 1)[-1]
    for value, word in ((None, "null"), ([0.5, 0.5], "a list of them"), ([0, 1], "a list of them")):
        if word not in bound and "a list of" not in bound and problem_of(name, argument, value) is None:
            bound += f", or {word}"
    return bound


def _refused(kind: str) -> str:
    lines = [textwrap.fill(f"- `{name}` {why}.", 100, subsequent_indent="  ") for name, why in REFUSED[kind].items()]
    return "Refused:\n\n" + "\n".join([*lines, ""])
