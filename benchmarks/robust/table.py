"""What docs/robust.md shows of the kept figures, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cells import grid
from benchmarks.robust.attacks import ATTACKS
from benchmarks.robust.sites import SPLITS
from benchmarks.robust.trial import EXPECTED, NONE, Trial
from benchmarks.stats import Run, over

Told = Mapping[str, Any]


def made(told: Told) -> str:
    """A table of accuracies a split, then who was left out."""
    return "\n\n".join([*(_accuracies(told, split) for split in SPLITS), _left_out(told)])


def runs_of(told: Told, rule: str, split: str, attack: str, attackers: int) -> Sequence[Run]:
    """One cell's, a run a seed."""
    found: Sequence[Run] = told["runs"][Trial(rule, split, attack, attackers, 0).side]
    return found


def _accuracies(told: Told, split: str) -> str:
    heads = [f"{split}: accuracy, %", "no attack", *(f"{EXPECTED} x {attack}" for attack in ATTACKS)]
    rows = [
        [f"`{rule}`", *(_percent(runs_of(told, rule, split, attack, count)) for attack, count in columns())]
        for rule in told["rules"]
    ]
    return grid(heads, rows)


def columns() -> list[tuple[str, int]]:
    """(attack, attackers) of the tables: none, then all of them."""
    return [(NONE, 0), *((attack, EXPECTED) for attack in ATTACKS)]


def _percent(runs: Sequence[Run]) -> str:
    found = over(runs, "accuracy", 0.01)
    assert found is not None
    middle, low, high = (f"{found[key]:.0f}" for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low} to {high})"


def _left_out(told: Told) -> str:
    """Of the rules that leave anybody out."""
    cases = [f"{split}: {what}" for split in SPLITS for what in ("no attack", "attacked")]
    heads = ["Left out in a round", "told", *cases]
    rows = []
    for rule, params in told["rules"].items():
        cells = [text for split in SPLITS for text in (_nobody(told, rule, split), _attacked(told, rule, split))]
        if any(cells):
            rows.append([f"`{rule}`", ", ".join(f"{n} {v}" for n, v in params.items()) or "nothing", *cells])
    return grid(heads, rows)


def _nobody(told: Told, rule: str, split: str) -> str:
    runs = runs_of(told, rule, split, NONE, 0)
    return f"{_mean(runs, 'honest_out'):.1f} honest" if any(run["honest_out"] for run in runs) else ""


def _attacked(told: Told, rule: str, split: str) -> str:
    runs = [run for attack in ATTACKS for run in runs_of(told, rule, split, attack, EXPECTED)]
    if not any(run["honest_out"] or run["hostile_in"] < EXPECTED for run in runs):
        return ""
    hostile = EXPECTED - _mean(runs, "hostile_in")
    return f"{_mean(runs, 'honest_out'):.1f} honest, {hostile:.1f} hostile"


def _mean(runs: Sequence[Run], figure: str) -> float:
    return float(sum(run[figure] for run in runs)) / len(runs)
