"""Every strategy by name, some combinations made by hand, and what any of them makes of a round, naively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.strategies import CHOICES, OF_NUMBERS, STRATEGIES
from mainstem.protocol.messages import StrategyChoice

Floats = NDArray[np.float64]

BY_HAND: dict[str, StrategyChoice] = {
    "krum before adam": StrategyChoice(
        name="custom", params={"weigh": "equal", "fold": "krum", "server": "adam", "server_learning_rate": 0.2}
    ),
    "clipped trimmed mean with momentum": StrategyChoice(
        name="custom",
        params={"weigh": "equal", "bound": "clip", "clip_norm": 3.0, "fold": "trimmed_mean", "server": "momentum"},
    ),
    "clipped geometric median before yogi": StrategyChoice(
        name="custom", params={"bound": "clip", "clip_norm": 5.0, "fold": "geometric_median", "server": "yogi"}
    ),
    "clipped sum": StrategyChoice(
        name="custom", params={"weigh": "equal", "bound": "clip", "clip_norm": 0.1, "fold": "sum"}
    ),
}
"""Combinations that no preset names."""

CHOSEN: dict[str, StrategyChoice] = {name: StrategyChoice(name=name) for name in OF_NUMBERS} | BY_HAND
"""All of them that make numbers of numbers, by the names that tests have. Those of forests: `tests.support.trees`."""


def combined(choice: StrategyChoice) -> dict[str, Any]:
    """The choices by kind, and every parameter."""
    preset = STRATEGIES[choice.name]
    kinds = {kind: part.name for kind, part in preset.chosen(choice.params).items()}
    own = {o.field.name: o.field.default for o in preset.parameters() if kinds.get(o.kind) == o.choice}
    return own | dict(choice.params) | kinds


def said(examples: int) -> dict[str, float]:
    """What an update of so many examples claims beside them, in tests of rounds alone."""
    return {"way": 1.0 + examples % 5, "loss": 0.5 + examples % 7, "rate": 0.1}


def carried(trained: NDArray[Any]) -> NDArray[Any]:
    """What it carries in a further group, for a trained tensor."""
    return np.asarray(np.multiply(trained, 0.125))


def naive(
    choice: StrategyChoice,
    base: Floats,
    updates: Sequence[Floats],
    examples: Sequence[int],
    state: Mapping[str, Floats],
) -> tuple[Floats, dict[str, Floats], Sequence[float]]:
    """The next version's trained numbers, what the server keeps, and the scores of a rule that has some.

    Everything is one flat float64 array and every formula the paper's, whatever it costs.
    """
    p = combined(choice)
    rows = np.stack(updates).astype(np.float64)
    if p["bound"] == "clip":
        norms = np.linalg.norm(rows - base, axis=1)
        rows = base + (rows - base) * np.minimum(1, p["clip_norm"] / np.maximum(norms, 1e-300))[:, None]
    folded, scores = _fold(p, base, rows, _weights(p, base, rows, examples))
    model, kept = _step(p, base, folded, state)
    if p["client"] == "scaffold":
        drift = np.mean([carried(update) for update in updates], axis=0)
        kept = {**kept, "scaffold_c": state.get("scaffold_c", np.zeros_like(base)) + drift}
    return model, kept, scores


def _weights(p: Mapping[str, Any], base: Floats, rows: Floats, examples: Sequence[int]) -> Floats:
    claims = [said(each) for each in examples]
    way, loss, rate = (np.array([claim[name] for claim in claims]) for name in ("way", "loss", "rate"))
    match p["weigh"]:
        case "equal":
            return np.ones(len(rows))
        case "steps":
            shares = np.array(examples) / sum(examples)
            return np.asarray(shares @ way * shares / way)
        case "loss":
            q, squares = p["q"], ((rows - base) ** 2).sum(axis=1)
            steps = q * loss ** (q - 1) * squares / rate**2 + loss**q / rate
            return np.asarray(loss**q / rate / steps.sum())
    return np.array(examples, float)


def _fold(p: Mapping[str, Any], base: Floats, rows: Floats, weights: Floats) -> tuple[Floats, Sequence[float]]:
    n, f = len(rows), p.get("byzantine", 0)
    scores: Sequence[float] = ()
    match p["fold"]:
        case "mean":
            folded = np.average(rows, axis=0, weights=weights)
        case "sum":
            folded = base + (weights[:, None] * (rows - base)).sum(axis=0)
        case "median":
            folded = np.median(rows, axis=0)
        case "trimmed_mean":
            folded = np.sort(rows, axis=0)[p["trim"] : n - p["trim"]].mean(axis=0)
        case "krum":
            scores = krum_scores(rows, f)
            folded = rows[int(np.argmin(scores))]
        case "multi_krum":
            scores = krum_scores(rows, f)
            folded = rows[np.argsort(scores, kind="stable")[: p["keep"] or n - f - 2]].mean(axis=0)
        case "bulyan":
            scores = krum_scores(rows, f)
            left = list(range(n))
            taken: list[int] = []
            while len(taken) < n - 2 * f:
                taken.append(left.pop(int(np.argmin(krum_scores(rows[left], f)))))
            chosen, middle = rows[sorted(taken)], np.median(rows[sorted(taken)], axis=0)
            chosen = np.sort(chosen, axis=0)
            order = np.argsort(np.abs(chosen - middle), axis=0, kind="stable")[: n - 4 * f]
            folded = np.take_along_axis(chosen, order, axis=0).mean(axis=0)
        case "geometric_median":
            alpha = weights / weights.sum()
            apart = np.sort(np.linalg.norm(rows[:, None] - rows[None], axis=-1), axis=1)
            beta = alpha / np.maximum(apart[:, min(max(n // 2, 1), n - 1)], p["smoothing"])
            folded = beta @ rows / beta.sum()
            for _ in range(p["iterations"]):
                scores = np.linalg.norm(rows - folded, axis=1).tolist()
                beta = alpha / np.maximum(scores, p["smoothing"])
                folded = beta @ rows / beta.sum()
        case "centred_clipping":
            alpha, folded = weights / weights.sum(), base
            for _ in range(p["clippings"]):
                scores = np.linalg.norm(rows - folded, axis=1).tolist()
                pull = alpha * np.minimum(1, p["radius"] / np.maximum(scores, 1e-300))
                folded = folded + pull @ (rows - folded)
    assert set(CHOICES["fold"]) >= {p["fold"]}
    return folded, scores


def krum_scores(rows: Floats, f: int) -> Sequence[float]:
    """Each one's squared distances to its n - f - 2 nearest others, at least one."""
    distances = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    near = max(len(rows) - f - 2, 1)
    found: list[float] = np.sort(distances, axis=1)[:, 1 : near + 1].sum(axis=1).tolist()
    return found


def _step(
    p: Mapping[str, Any], base: Floats, folded: Floats, state: Mapping[str, Floats]
) -> tuple[Floats, dict[str, Floats]]:
    server, zeros = p["server"], np.zeros_like(base)
    if server == "replace":
        return folded, {}
    d, rate = folded - base, p["server_learning_rate"]
    if server == "momentum":
        v = p["server_momentum"] * state.get("momentum", zeros) + d
        return base + rate * v, {"momentum": v}
    m = p["beta_1"] * state.get(f"{server}_m", zeros) + (1 - p["beta_1"]) * d
    v = state.get(f"{server}_v", zeros)
    match server:
        case "adagrad":
            v = v + d**2
        case "adam":
            v = p["beta_2"] * v + (1 - p["beta_2"]) * d**2
        case "yogi":
            v = v - (1 - p["beta_2"]) * d**2 * np.sign(v - d**2)
    return base + rate * m / (np.sqrt(v) + p["tau"]), {f"{server}_m": m, f"{server}_v": v}
