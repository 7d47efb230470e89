"""FedProx, SCAFFOLD, FedNova and q-FedAvg: whole runs of linear regression against the papers' algorithms in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies import Claim, make
from mainstem.aggregator.federation import Federation
from mainstem.client.own import OwnUpdates
from mainstem.errors import AggregationError, ConfigError, RefusedError, UnreadableError
from mainstem.jobs.compiling import rate_of, way_of
from mainstem.lineage import read_history, replay, verify
from mainstem.protocol import updates
from mainstem.protocol.chain import Chain, Head
from mainstem.protocol.messages import (
    Base,
    LearningRateSchedule,
    Reason,
    Rules,
    Selection,
    StrategyChoice,
    Training,
    Update,
    Weights,
    encode,
)
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy
from mainstem.rounds.policy import Policy
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import Topic, opened
from tests.support.federations import open_federation, rounds_of
from tests.support.regression import MODEL, Floats, Samples, federate, regressors, sites
from tests.support.runs import Ticking, aggregate, command, drive

RATE = 0.1
SGD = Training(optimizer="sgd", learning_rate=RATE, batch_size=1, epochs=4)
FALLING = Training(
    optimizer="sgd", learning_rate=RATE, batch_size=1, epochs=4,
    learning_rate_schedule=LearningRateSchedule(name="exponential", params={"factor": 0.5}),
)  # fmt: skip
HEAVY = Training(
    optimizer={"class_name": "SGD", "config": {"momentum": 0.6}}, learning_rate=RATE, batch_size=1, epochs=4
)

Model = list[Floats]
FEW = settings(max_examples=12, deadline=None)
"""Each example is a whole run."""


def local(samples: Samples, start: Model, rate: float, change: Any = None, momentum: float = 0.0) -> Model:
    """A client's steps from `start`, its gradients changed by `change(tensor's number, gradient, weight)`."""
    weights, velocity = [np.array(t) for t in start], [np.zeros_like(t) for t in start]
    for step in range(samples.steps):
        gradients = samples.gradient(weights, step)
        if change is not None:
            gradients = [change(i, gradient, weights[i]) for i, gradient in enumerate(gradients)]
        velocity = [momentum * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
        weights = [w + v for w, v in zip(weights, velocity, strict=True)]
    return weights


def tensors_of(log: MemoryLog, federation: str, weights: Weights) -> list[Tensor]:
    """A version's, or those of SCAFFOLD's variate, which are like them."""
    opened = read_history(log, federation).opened
    specs = next((group.tensors for group in opened.groups if weights.update.endswith(group.name)), opened.tensors)
    return updates.read(log, opened.topics.data, weights, specs)


def check(log: MemoryLog, federation: str, versions: Sequence[Model]) -> None:
    """Each version is what the reference has, and is proved and replayed from the log alone."""
    for record, expected in zip(rounds_of(log, federation), versions, strict=True):
        found = tensors_of(log, federation, record.weights)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * (1 + len(versions))
    assert all(again.same for again in replay(log, federation))


# ---------------------------------------------------------------- FedProx
@FEW
@given(seed=st.integers(0, 2**32 - 1), mu=st.sampled_from([0.0, 0.01, 0.7, 3.0]), momentum=st.booleans())
def test_fedprox_is_the_papers_algorithm(seed: int, mu: float, momentum: bool) -> None:
    """Clients minimise their loss and mu / 2 |w - w0|^2, by any optimizer; the server takes their weighted mean."""
    data, training = sites(seed, 3, (1, 3, 4)), HEAVY if momentum else SGD
    log, federation, _ = federate(StrategyChoice(name="fedprox", params={"mu": mu}), data, training)
    model, versions = [np.array(t) for t in MODEL], []
    for _ in range(3):
        start = model

        def near(i: int, gradient: Floats, weight: Floats, start: Model = start) -> Floats:
            return gradient + mu * (weight - start[i])

        made = [local(samples, start, RATE, near, 0.6 * momentum) for samples in data]
        counts = [len(samples.x) for samples in data]
        model = [np.average([m[i] for m in made], axis=0, weights=counts) for i in range(2)]
        versions.append(model)
    check(log, federation, versions)
    assert {record.strategy.name for record in rounds_of(log, federation)} == {"fedprox"}


# ---------------------------------------------------------------- SCAFFOLD
@FEW
@given(seed=st.integers(0, 2**32 - 1), asked=st.integers(1, 4), falling=st.booleans())
def test_scaffold_is_the_papers_algorithm(seed: int, asked: int, falling: bool) -> None:
    """Option II, with some of the clients or all of them in a round; c is the mean of all clients' variates."""
    data, training = sites(seed, 4, (1, 3, 4)), FALLING if falling else SGD
    some = Selection(name="uniform", params={"count": asked})
    log, federation, _ = federate(StrategyChoice(name="scaffold"), data, training, rounds=4, selection=some)
    model, versions = [np.array(t) for t in MODEL], []
    c, mine = [np.zeros_like(t) for t in model], {f"c{n}": [np.zeros_like(t) for t in model] for n in range(4)}
    for record in rounds_of(log, federation):
        rate = rate_of(training, record.round, 4) or 0.0
        made, changes = [], []
        for client in sorted(item.client for item in record.accepted):
            samples, own = data[int(client[1:])], mine[client]
            y = local(samples, model, rate, lambda i, gradient, weight, own=own, c=c: gradient - own[i] + c[i])
            after = [own[i] - c[i] + (model[i] - y[i]) / (samples.steps * rate) for i in range(2)]  # line 12, option II
            changes.append([new - old for new, old in zip(after, own, strict=True)])
            made.append(y)
            mine[client] = after
        assert len(made) == asked and record.clients == 4
        model = [np.mean([m[i] for m in made], axis=0) for i in range(2)]
        c = [c[i] + asked / 4 * np.mean([change[i] for change in changes], axis=0) for i in range(2)]
        versions.append(model)
        published = tensors_of(log, federation, record.state["scaffold_c"])
        for a, b in zip(published, c, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        for i in range(2):
            np.testing.assert_allclose(c[i], np.mean([own[i] for own in mine.values()], axis=0), rtol=1e-9, atol=1e-9)
    check(log, federation, versions)


def test_scaffold_gets_where_averaging_does_not() -> None:
    """With data that do not agree the mean of drifted clients stands off the optimum; with variates it does not."""
    data = sites(5, 4, (8,))
    x, y = np.concatenate([s.x for s in data]), np.concatenate([s.y for s in data])
    weigh = np.concatenate([np.full(len(s.x), 1 / len(s.x)) for s in data])  # every client alike
    ones = np.column_stack([x, np.ones(len(x))]) * np.sqrt(weigh)[:, None]
    best = np.linalg.lstsq(ones, y * np.sqrt(weigh), rcond=None)[0]
    whole = [Samples(s.x, s.y, len(s.x), 8) for s in data]
    far = {}
    for name, params in (("fedavg", {"weigh": "equal"}), ("scaffold", {})):
        log, federation, _ = federate(StrategyChoice(name=name, params=params), whole, SGD, rounds=40)
        last = tensors_of(log, federation, rounds_of(log, federation)[-1].weights)
        far[name] = float(np.abs(np.append(last[0], last[1]) - best).max())
    assert far["scaffold"] < 0.01 < 0.05 < far["fedavg"]


def test_a_variate_is_in_the_log_alone() -> None:
    """Every client and the aggregator begun anew in each round, and a rollback on the way: the bytes are the same."""
    data, strategy = sites(7, 3, (2, 3)), StrategyChoice(name="scaffold")
    log, federation, _ = federate(strategy, data, SGD, rounds=4)
    undisturbed = rounds_of(log, federation)
    again = MemoryLog(Ticking())
    rules = Rules(rounds=4, min_clients=3, max_clients=3)
    federation = open_federation(again, MODEL, rules, strategy, federation="regress1", training=SGD)
    for number in range(100):
        aggregator = Federation(again, federation, clock=Ticking(), writer=f"w{number}")
        try:
            drive(aggregator, regressors(again, federation, data, f"{number}"), turns=1)
            break
        except AssertionError:
            continue  # all of them were killed in mid-run
        finally:
            aggregator.close()
    assert number > 4
    found = rounds_of(again, federation)
    assert [r.weights.sha256 for r in found] == [r.weights.sha256 for r in undisturbed]
    assert [r.state["scaffold_c"].sha256 for r in found] == [r.state["scaffold_c"].sha256 for r in undisturbed]
    command(again, federation, "rollback", version=1)
    aggregate(again, federation, regressors(again, federation, data, "back"))
    behind = rounds_of(again, federation)[4:]
    assert [r.weights.sha256 for r in behind] == [r.weights.sha256 for r in undisturbed[1:]]


def heads_of(log: MemoryLog, federation: str) -> list[Head]:
    """Each head that the run had, in order."""
    chain, found = Chain(), []
    for link in read_history(log, federation).links:
        chain.offer(link)
        assert chain.head is not None
        found.append(chain.head)
    return found


def test_own_updates_are_read_once_and_summed_as_the_head_has_them() -> None:
    """In any order of heads, from the control topic's part that is new; another history is refused."""
    log, federation, _ = federate(StrategyChoice(name="scaffold"), sites(3, 2, (2,)), SGD, rounds=3)
    heads = heads_of(log, federation)
    fresh = [OwnUpdates(log, head.opened, "c1").sums(head) for head in heads]
    assert all(not tensor.any() for tensor in fresh[0]["scaffold_dc"])
    own = OwnUpdates(log, heads[0].opened, "c1")
    for number in (0, 2, 3, 1, 3):
        found = own.sums(heads[number])["scaffold_dc"]
        assert [t.tobytes() for t in found] == [t.tobytes() for t in fresh[number]["scaffold_dc"]]
    other, _, _ = federate(StrategyChoice(name="scaffold"), sites(4, 2, (2,)), SGD, rounds=3)
    with pytest.raises(UnreadableError, match="another record 3"):
        OwnUpdates(other, heads[0].opened, "c1").sums(heads[3])


# ---------------------------------------------------------------- FedNova
@FEW
@given(seed=st.integers(0, 2**32 - 1), heavy=st.booleans())
def test_fednova_is_the_papers_algorithm(seed: int, heavy: bool) -> None:
    """x - tau_eff sum p_i eta d_i, with d_i = G_i a_i / |a_i|_1: each client's gradients, weighed as its optimizer
    does, one by one."""
    data, rho = sites(seed, 3, (1, 2, 4)), 0.6 * heavy
    log, federation, _ = federate(StrategyChoice(name="fednova"), data, HEAVY if heavy else SGD)
    model, versions = [np.array(t) for t in MODEL], []
    shares = np.array([len(samples.x) for samples in data], float)
    shares /= shares.sum()
    for record in rounds_of(log, federation):
        directions, lengths = [], []
        for samples in data:
            seen: list[tuple[int, Floats]] = []
            local(samples, model, RATE, lambda i, g, w, seen=seen: seen.append((i, g)) or g, rho)
            a = np.array([sum(rho**j for j in range(samples.steps - k)) for k in range(samples.steps)])
            gradients = [np.stack([g for i, g in seen if i == tensor]) for tensor in range(2)]
            directions.append([np.tensordot(a, g, 1) / a.sum() for g in gradients])
            lengths.append(a.sum())
        effective = float(shares @ np.array(lengths))
        step = [sum(p * d[i] for p, d in zip(shares, directions, strict=True)) for i in range(2)]
        model = [model[i] - effective * RATE * step[i] for i in range(2)]
        versions.append(model)
        steps = {item.client: item.steps for item in record.accepted}
        assert steps == {"c0": 1, "c1": 2, "c2": 4}
    check(log, federation, versions)


@given(rho=st.floats(0, 1), steps=st.integers(1, 60))
def test_the_way_of_steps_is_the_sum_of_all_weights(rho: float, steps: int) -> None:
    """|a|_1 as one adds it up gradient by gradient."""
    training = Training(optimizer={"class_name": "SGD", "config": {"momentum": rho}}, learning_rate=1.0)
    expected = sum(sum(rho**j for j in range(steps - k)) for k in range(steps))
    assert way_of(training, steps) == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- q-FedAvg
@FEW
@given(seed=st.integers(0, 2**32 - 1), q=st.sampled_from([0.0, 0.5, 1.0, 5.0]))
def test_q_fedavg_is_the_papers_algorithm(seed: int, q: float) -> None:
    """Delta_k = F_k^q L (w - w_k), h_k = q F_k^(q-1) |L (w - w_k)|^2 + L F_k^q, w - sum Delta / sum h."""
    data = sites(seed, 3, (2, 3))
    log, federation, _ = federate(StrategyChoice(name="qfedavg", params={"q": q}), data, SGD)
    # norms are exact of changes that were rounded to 18 bits, so versions agree to 5 digits: each from the last found
    model = [np.array(t) for t in MODEL]
    for record in rounds_of(log, federation):
        lipschitz, deltas, h = 1 / RATE, [], 0.0
        for samples in data:
            loss, made = samples.loss(model) + 1e-10, local(samples, model, RATE)
            gradient = [lipschitz * (w - m) for w, m in zip(model, made, strict=True)]
            deltas.append([loss**q * g for g in gradient])
            h += q * loss ** (q - 1) * sum(float(np.sum(g * g)) for g in gradient) + lipschitz * loss**q
        expected = [model[i] - sum(d[i] for d in deltas) / h for i in range(2)]
        found = tensors_of(log, federation, record.weights)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        model = [np.array(t) for t in found]
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * 4
    assert all(again.same for again in replay(log, federation))


def test_q_moves_towards_the_worst_off() -> None:
    """With q = 0 all count alike; the larger it is, the more of the whole the largest loss has."""
    claims = [Claim("a", 9, loss=0.1, rate=0.1), Claim("b", 1, loss=2.0, rate=0.1)]
    measures = Measures([1, 1], [], 0)
    alike = [w.coefficient for w in make("qfedavg", {"q": 0}).weigh(claims, measures)]
    assert alike == [0.5, 0.5]
    shares = []
    for q in (0.5, 1, 2, 4):
        first, second = (w.coefficient for w in make("qfedavg", {"q": q}).weigh(claims, measures))
        shares.append(second / (first + second))
    assert shares == sorted(shares) and shares[0] > 0.5


@pytest.mark.parametrize("loss", [0.0, 1e6])
@pytest.mark.parametrize("q", [0.0, 0.3, 16.0])
def test_the_smallest_and_the_largest_losses_have_coefficients(loss: float, q: float) -> None:
    """Powers stay numbers; changes that are too large for them are an error."""
    claims = [Claim("a", 1, loss=loss, rate=1e-3), Claim("b", 1, loss=1.0, rate=1e-3)]
    made = make("qfedavg", {"q": q}).weigh(claims, Measures([4, 4], [], 0))
    assert all(0 <= w.coefficient <= 1 for w in made)


def test_changes_too_large_for_losses_are_an_error() -> None:
    """Rather than a version of NaN."""
    claims = [Claim("a", 1, loss=1e6, rate=1e-38)] * 2
    with pytest.raises(AggregationError, match="too large"):
        make("qfedavg", {"q": 16}).weigh(claims, Measures([10**210] * 2, [], 0))


# ---------------------------------------------------------------- what goes together
ADAM = Training(learning_rate=0.1)


def sgd(**config: Any) -> Training:
    """SGD with these arguments."""
    return Training(optimizer={"class_name": "SGD", "config": config}, learning_rate=0.1)


@pytest.mark.parametrize(
    ("name", "rules", "training", "says"),
    [
        ("scaffold", Rules(), ADAM, "optimizer must be plain SGD for scaffold, .*: it is Adam"),
        ("scaffold", Rules(), sgd(momentum=0.9), "optimizer must be plain SGD .*: it has momentum"),
        ("scaffold", Rules(), sgd(clipnorm=1.0), "optimizer must be plain SGD .*: it has clipnorm"),
        ("scaffold", Rules(), Training(optimizer="sgd"), "learning_rate must be given for scaffold"),
        ("scaffold", Rules(mode="buffered"), SGD, "mode must be sync: scaffold"),
        ("scaffold", Rules(keep_updates=3), SGD, "keep_updates must be left out: with scaffold a client's variate"),
        ("fednova", Rules(), ADAM, "optimizer must be SGD, perhaps with momentum, .*: it is Adam"),
        ("fednova", Rules(), sgd(momentum=0.9, nesterov=True), "optimizer must be SGD, .*: it has nesterov"),
        ("qfedavg", Rules(), Training(), "learning_rate must be given: by it losses"),
        ("qfedavg", Rules(mode="async"), SGD, "mode must be sync: losses are compared"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, rules: Rules, training: Training, says: str) -> None:
    """At creation, with the field that is wrong first."""
    with pytest.raises(ConfigError, match=f"^{says}"):
        policy.check(StrategyChoice(name=name), rules, training)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"weigh": "steps"}, r"strategy.params.fold must be sum with steps: its coefficients are no shares"),
        ({"weigh": "steps", "fold": "sum", "client": "proximal"}, r"strategy.params.client must be plain with steps"),
        ({"weigh": "loss"}, r"strategy.params.fold must be sum with loss"),
        ({"client": "scaffold"}, r"strategy.params.weigh must be equal with scaffold: a client's variate is the sum"),
        ({"client": "scaffold", "weigh": "equal", "fold": "median"}, r"strategy.params.fold must be mean"),
        ({"client": "scaffold", "weigh": "equal", "bound": "clip"}, r"strategy.params.bound must be none"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(params: dict[str, Any], says: str) -> None:
    """Each with its reason."""
    with pytest.raises(ConfigError, match=f"^{says}"):
        make("custom", params)


def test_what_goes_together() -> None:
    """Each with settings that it takes; a client's half goes with a server's optimizer too."""
    for name in ("scaffold", "fednova", "qfedavg", "fedprox"):
        policy.check(StrategyChoice(name=name), Rules(), SGD)
    policy.check(StrategyChoice(name="fednova"), Rules(mode="buffered"), sgd(momentum=0.9))
    policy.check(StrategyChoice(name="fedprox"), Rules(mode="async"), ADAM)
    policy.check(StrategyChoice(name="scaffold"), Rules(), sgd(momentum=0.0))
    combined = {"client": "scaffold", "weigh": "equal", "server": "adam"}
    policy.check(StrategyChoice(name="custom", params=combined), Rules(), SGD)


@pytest.mark.parametrize(
    ("name", "said", "says"),
    [
        ("fednova", {"steps": 0}, "claims 0 steps, and 9 examples make 1 to 6 in a round"),
        ("fednova", {"steps": 7}, "claims 7 steps"),
        ("qfedavg", {}, "claims the loss None"),
        ("qfedavg", {"loss": -0.1}, "claims the loss -0.1, by which it is weighed: a number from 0 to 1e"),
        ("qfedavg", {"loss": 2e6}, "claims the loss 2000000.0"),
    ],
)
def test_claims_that_cannot_be_are_refused(name: str, said: dict[str, Any], says: str) -> None:
    """Steps by which one would be weighed are at most those that its examples make; a loss is a loss."""
    strategy, training = StrategyChoice(name=name), Training(optimizer="sgd", learning_rate=0.1, batch_size=3, epochs=2)
    head = Topic([(opened_as(strategy, training), 0)]).head()
    base = Base(seq=0, version=0)
    update = Update(client="c", incarnation="1", base=base, number=0, examples=9, weights=head.weights, **said)
    with pytest.raises(RefusedError, match=says) as caught:
        Policy.of(head).check_claim(head, update)
    assert caught.value.reason == Reason.EXAMPLES


def opened_as(strategy: StrategyChoice, training: Training) -> Any:
    """The record that opens a run of that strategy."""
    return encode(msgspec.structs.replace(opened(), strategy=strategy, training=training))
