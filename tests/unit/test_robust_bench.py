"""The test bed of hostile clients: attacks by their papers' formulas, the split, a run, the table, the picture."""

from __future__ import annotations

import json
from statistics import NormalDist
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.robust import attacks, drawing, sites, table, trial
from benchmarks.robust.__main__ import joined
from benchmarks.robust.attacks import ATTACKS, EPSILON, NOISE, SIGMA, Scene, Z, largest_z
from mainstem.aggregation.local import LocalStart
from mainstem.aggregation.strategies import STRATEGIES, make


def scene(seed: int, honest: int, hostile: int, elements: int = 50) -> Scene:
    """Changes of any clients."""
    random = np.random.default_rng(seed)
    return Scene(random.normal(1, 2, (honest, elements)), random.normal(1, 2, (hostile, elements)), random)


@given(seed=st.integers(0, 2**32), honest=st.integers(1, 9), hostile=st.integers(1, 3))
def test_attacks_are_their_papers_formulas(seed: int, honest: int, hostile: int) -> None:
    """A row for each attacker, whatever the numbers."""
    given_ = scene(seed, honest, hostile)
    sent = {name: attack.send(given_) for name, attack in ATTACKS.items()}
    assert {changes.shape for changes in sent.values()} == {given_.own.shape}
    mean = given_.honest.sum(axis=0) / honest
    deviation = np.sqrt(((given_.honest - mean) ** 2).sum(axis=0) / honest)
    for row in range(hostile):
        np.testing.assert_allclose(sent["sign flip"][row], -SIGMA * given_.own[row])
        np.testing.assert_allclose(sent["IPM"][row], -EPSILON * mean)
        np.testing.assert_allclose(sent["ALIE"][row], mean - Z * deviation, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(sent["label flip"][row], given_.own[row])
    assert [attack.flips for attack in ATTACKS.values()] == [True, False, False, False, False]


def test_manipulated_mean_points_away_and_a_little_stays_near() -> None:
    """What each of the two is about: an inner product below zero; a distance like an honest client's."""
    given_ = scene(7, 7, 3, 5000)
    mean = given_.honest.mean(axis=0)
    assert attacks.inner_product(given_)[0] @ mean < 0
    far = np.linalg.norm(attacks.little(given_)[0] - mean)
    assert far < 2 * max(np.linalg.norm(row - mean) for row in given_.honest)


def test_noise_is_normal_around_its_own_change() -> None:
    """In every element, and another one for each attacker."""
    given_ = scene(3, 7, 2, 20_000)
    apart = np.subtract(attacks.noise(given_), given_.own)
    assert abs(apart.mean()) < 0.03 and abs(apart.std() - NOISE) < 0.03
    assert abs(np.corrcoef(*apart).ravel()[1]) < 0.03


@pytest.mark.parametrize(
    ("clients", "attackers", "part"), [(50, 12, 24 / 38), (10, 3, 4 / 7), (10, 2, 0.5), (10, 1, 4 / 9)]
)
def test_how_far_a_little_may_go(clients: int, attackers: int, part: float) -> None:
    """By that paper's algorithm 3: the part of the honest clients that may lie below."""
    assert largest_z(clients, attackers) == pytest.approx(NormalDist().inv_cdf(part))


@pytest.mark.parametrize("name", sites.SPLITS)
def test_sites_have_every_sample_once(name: str) -> None:
    """Alike in size, or of few classes each; the same for the same seed."""
    parts = sites.split(name, 10, 4)
    whole = np.sort(np.concatenate(parts))
    assert np.array_equal(whole, np.arange(sites.TRAINING))
    assert all(np.array_equal(a, b) for a, b in zip(parts, sites.split(name, 10, 4), strict=True))
    labels = sites.digits()[1]
    common = [np.bincount(labels[part], minlength=10).max() / len(part) for part in parts]
    assert max(common) < 0.25 if name == "IID" else np.median(common) > 0.25


def test_flipped_labels_teach_the_opposite() -> None:
    """A site that trains on 9 - y calls most digits by that."""
    model, samples = sites.first_model(0), np.arange(sites.TRAINING)
    for round_ in range(3):
        model = sites.train(model, samples, [0, round_], flipped=True)
    images, labels = sites.digits()
    said = sites._forward(model, images[sites.TRAINING :])[1].argmax(1)
    assert (said == 9 - labels[sites.TRAINING :]).mean() > 0.8 and sites.accuracy(model) < 0.1


def test_a_strategy_may_change_the_sites_gradients() -> None:
    """FedProx with a large mu keeps a site near the version that it began with; the loss is what training lowers."""
    model, samples = sites.first_model(0), np.arange(200)
    hooks = [make("fedprox", {"mu": mu}).asks.hook(LocalStart(sites.RATE)) for mu in (0.0, 5.0)]
    free, held = (sites.train(model, samples, [0, 1], hook=hook) for hook in hooks)
    far = [sum(float(np.square(a - b).sum()) for a, b in zip(made, model, strict=True)) for made in (free, held)]
    assert far[1] < 0.5 * far[0]
    assert sites.loss(free, samples) < sites.loss(held, samples) < sites.loss(model, samples)
    assert all(np.array_equal(a, b) for a, b in zip(free, sites.train(model, samples, [0, 1]), strict=True))


@pytest.mark.parametrize("rule", ["fednova", "qfedavg"])
def test_rules_that_weigh_by_claims_get_them(rule: str) -> None:
    """Steps and losses are claimed, and the model learns by them."""
    assert trial.run(trial.Trial(rule, "Dirichlet", "none", 0, 0), rounds=4)["accuracy"] > 0.15


def test_rules_are_those_of_the_registry() -> None:
    """Told to expect three attackers where they can be; none twice under two names."""
    found = trial.rules()
    assert set(found) <= set(STRATEGIES) and {"fedavg", "median", "krum"} <= set(found)
    assert found["krum"].params == {"byzantine": 3}


def test_a_run_under_attack() -> None:
    """The mean follows three sign flippers, krum none of them; it leaves out nine of ten; again to the last digit."""
    cell = ("IID", "sign flip", 3, 1)
    mean, krum = (trial.run(trial.Trial(rule, *cell), rounds=6) for rule in ("fedavg", "krum"))
    assert mean["accuracy"] < 0.5 < 0.7 < krum["accuracy"]
    assert mean["hostile_in"] == 3 and mean["honest_out"] == 0
    assert krum["hostile_in"] == 0 and krum["honest_out"] == 6 and krum["honest_lost"] >= 5
    assert trial.run(trial.Trial("krum", *cell), rounds=6) == krum


def told() -> dict[str, Any]:
    """Figures that nobody measured."""
    runs = {}
    for rule, out in (("fedavg", 0.0), ("krum", 6.0)):
        for split in sites.SPLITS:
            for attack, count in [("none", 0), *((attack, n) for attack in ATTACKS for n in (1, 2, 3))]:
                figures = {"honest_out": out, "honest_lost": out, "hostile_in": count if rule == "fedavg" else 0.0}
                side = trial.Trial(rule, split, attack, count, 0).side
                runs[side] = [{"accuracy": 0.9 - count / 10 + seed / 100, **figures} for seed in (0, 1, 2)]
    return {"rounds": 30, "rules": {"fedavg": {}, "krum": {"byzantine": 3}}, "runs": runs}


def test_the_table_has_medians_with_their_spread() -> None:
    """A row a rule; of those that leave nobody out nothing in the last table."""
    made = table.made(told())
    assert made.count("| `fedavg` | 91 (90 to 92) | 61 (60 to 62) |") == 2
    assert "| `krum` | byzantine 3 | 6.0 honest | 6.0 honest, 3.0 hostile |" in made
    assert made.count("| `fedavg` |") == 2 and made.count("| `krum` |") == 3


def test_one_rule_is_measured_anew_among_those_kept() -> None:
    """Its figures take the place of the old ones; a rule that is no more goes; the order is the registry's."""
    kept = told() | {"measured": [{"command": "a"}]}
    new = {
        "rules": {"krum": {"byzantine": 2}},
        "runs": {trial.Trial("krum", "IID", "none", 0, 0).side: [{"accuracy": 1}]},
    }
    found = joined(kept, new, {"command": "b"}, ["krum", "fedavg"])
    assert list(found["rules"]) == ["krum", "fedavg"] and found["rules"]["krum"] == {"byzantine": 2}
    assert found["runs"]["krum, IID, none, 0"] == [{"accuracy": 1}]
    assert found["runs"]["fedavg, IID, none, 0"] == kept["runs"]["fedavg, IID, none, 0"]
    assert len(found["measured"]) == 2
    assert not any(side.startswith("krum") for side in joined(kept, new, {}, ["fedavg"])["runs"])


def test_the_picture_is_what_the_figures_say() -> None:
    """A cell for each rule, split, attack and number of attackers; the committed one is drawn from the kept ones."""
    drawn = drawing.drawn(told())
    cells = [e for e in ElementTree.fromstring(drawn).iter() if e.tag.endswith("rect")]
    assert len(cells) == 2 * 2 * 16 and ">91</text>" in drawn and ">61</text>" in drawn
    assert drawing.FILE.read_text() == drawing.drawn(json.loads(drawing.KEPT.read_text()))


@given(st.floats(0, 1))
def test_colours_lie_on_the_scale(accuracy: float) -> None:
    """Each a colour, the ends those of the scale."""
    assert all(0 <= part <= 255 for part in drawing.colour(accuracy))
    assert drawing.colour(0.0) == drawing.SCALE[0][1] and drawing.colour(1.0) == drawing.SCALE[-1][1]
