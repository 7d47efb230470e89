"""Which tensors stay at a site, and what of a site's own model fits: pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.jobs.narrowing import narrowed
from mainstem.protocol.adapting import check, compared, personal_of, refusal
from mainstem.protocol.exchange import no_slice
from mainstem.protocol.messages import Adaptation, Opened, Rules, TensorSpec
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import open_federation
from mainstem.testing.memory_log import MemoryLog
from tests.unit.test_pipeline import head_of
from tests.unit.test_training_loop import TENSORS


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer as Keras writes it, as far as it matters here."""
    return {"class_name": kind, "config": {"name": name, **config}, "build_config": {"input_shape": [None, 8]}}


def model(name: str = "net", *layers: dict[str, Any]) -> str:
    """A sequential model's JSON."""
    found = layers or (
        layer("Dense", "first", units=16),
        layer("BatchNormalization", "norm"),
        layer("TimeDistributed", "each", layer=layer("BatchNormalization", "inner")),
        layer("Dense", "head", units=3),
    )
    return json.dumps({"class_name": "Sequential", "config": {"name": name, "layers": list(found)}})


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    """A tensor's."""
    return TensorSpec(name=name, dtype=dtype, shape=shape)


SPECS = (
    spec("net/first/kernel", 8, 16),
    spec("net/first/bias", 16),
    spec("net/norm/gamma", 16),
    spec("net/norm/moving_mean", 16),
    spec("net/each/inner/beta", 16),
    spec("net/seen", dtype="int64"),
    spec("net/head/kernel", 16, 3),
    spec("net/head/bias", 3),
)


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [
        (["head/*"], (6, 7)),
        (["net/head/*"], (6, 7)),
        (["*/kernel"], (0, 6)),
        (["class:BatchNormalization"], (2, 3, 4)),
        (["class:BatchNormalization", "head/bias", "*/bias"], (1, 2, 3, 4, 7)),
        (["seen"], (5,)),
        ([], ()),
    ],
)
def test_patterns_name_tensors(patterns: list[str], numbers: tuple[int, ...]) -> None:
    """With and without the model's own name, by the class of their layer, each once."""
    assert personal_of(patterns, SPECS, model()) == numbers


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (["tail/*"], "personal has 'tail/*', which names no tensor of the model; there are first/kernel, first/bias"),
        (["class:Conv2D"], "personal has 'class:Conv2D', which names no tensor"),
        (["head/*", ""], "personal has ''"),
        (["*"], "personal keeps every tensor at the sites"),
        (["first/*", "norm/*", "each/*", "head/*"], "personal keeps every tensor at the sites"),
    ],
)
def test_what_names_nothing_or_all_is_refused(patterns: list[str], says: str) -> None:
    """The sentence begins with the field and shows what there is."""
    with pytest.raises(ConfigError) as refused:
        personal_of(patterns, SPECS, model())
    assert str(refused.value).startswith(says)


def test_an_architecture_that_is_none_has_no_classes() -> None:
    """Models of a framework without one, and what is no JSON at all."""
    assert personal_of(["net/head/*"], SPECS, "{}") == personal_of(["net/head/*"], SPECS, "[" * 100_000) == (6, 7)


def test_what_does_not_go_together_is_refused() -> None:
    """Patterns without their choice, and the choice without patterns."""
    check(Adaptation())
    check(Adaptation(adapt="personal", personal=("head/*",), ditto=0.1))
    check(Adaptation(adapt="slice", ditto=1.0))
    for wrong in (
        Adaptation(adapt="personal"),
        Adaptation(personal=("a",)),
        Adaptation(adapt="slice", personal=("a",)),
    ):
        with pytest.raises(ConfigError, match=r"^personal "):
            check(wrong)


@pytest.fixture(scope="module")
def opened() -> Opened:
    """A run of the model above."""
    log = MemoryLog(SystemClock())
    begun: Opened = head_of(log, open_federation(log, TENSORS, Rules())).opened
    return msgspec.structs.replace(begun, architecture=model(), tensors=SPECS)


def states(opened: Opened, adapt: str, specs: Sequence[TensorSpec], personal: tuple[int, ...] = ()) -> dict[str, str]:
    """What becomes of each tensor."""
    run = msgspec.structs.replace(opened, adaptation=Adaptation(adapt=adapt), personal=personal)  # type: ignore[arg-type]
    return {fit.tensor: fit.state for fit in compared(run, specs, model("mine"))}


MINE = tuple(msgspec.structs.replace(each, name=each.name.replace("net/", "mine/")) for each in SPECS)


def changed(**shapes: Any) -> tuple[TensorSpec, ...]:
    """MINE with other shapes of some tensors, by their names with _ for /; None: without it; a spec: beside it."""
    found = []
    for each in MINE:
        key = each.name.removeprefix("mine/").replace("/", "_")
        if key not in shapes:
            found.append(each)
        elif (new := shapes.pop(key)) is not None:
            found.append(new if isinstance(new, TensorSpec) else msgspec.structs.replace(each, shape=new))
    return (*found, *shapes.values())


@pytest.mark.parametrize("adapt", ["strict", "personal", "partial", "slice"])
def test_the_same_model_fits_whatever_its_own_name(opened: Opened, adapt: str) -> None:
    """A sequential model's name stands before those of its tensors."""
    assert set(states(opened, adapt, MINE).values()) == {"fits"}
    kept = states(opened, adapt, MINE, (6, 7))
    assert [name for name, state in kept.items() if state == "kept"] == ["head/kernel", "head/bias"]


@pytest.mark.parametrize(
    ("adapt", "mine", "becomes"),
    [
        ("strict", {"head_bias": (4,)}, {"head/bias": "refused"}),
        ("strict", {"head_bias": None}, {"head/bias": "refused"}),
        ("strict", {"more": spec("mine/more", 2)}, {"more": "refused"}),
        ("partial", {"head_kernel": (16, 4), "head_bias": (4,)}, {"head/kernel": "kept", "head/bias": "kept"}),
        ("partial", {"norm_gamma": None}, {"norm/gamma": "absent"}),
        ("partial", {"more": spec("mine/more", 2)}, {"more": "kept"}),
        ("partial", {"head_bias": spec("mine/head/bias", 3, dtype="float16")}, {"head/bias": "refused"}),
        ("slice", {"first_kernel": (8, 4), "first_bias": (4,)}, {"first/kernel": "sliced", "first/bias": "sliced"}),
        ("slice", {"first_kernel": (8, 17)}, {"first/kernel": "refused"}),
        ("slice", {"first_bias": (4, 4)}, {"first/bias": "refused"}),
        ("slice", {"first_bias": (0,)}, {"first/bias": "refused"}),
        ("slice", {"norm_gamma": None}, {"norm/gamma": "absent"}),
        ("slice", {"more": spec("mine/more", 2)}, {"more": "refused"}),
    ],
)
def test_what_differs_has_its_answer(opened: Opened, adapt: str, mine: dict[str, Any], becomes: dict[str, str]) -> None:
    """And its reason; all others fit."""
    specs = changed(**mine)
    found = states(opened, adapt, specs)
    assert {name: state for name, state in found.items() if state != "fits"} == becomes
    run = msgspec.structs.replace(opened, adaptation=Adaptation(adapt=adapt))  # type: ignore[arg-type]
    fits = compared(run, specs, model("mine"))
    assert all(fit.why for fit in fits if fit.state != "fits")
    assert bool(refusal(fits)) == ("refused" in becomes.values())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4))
def test_a_slice_is_a_leading_part(sizes: list[tuple[int, int]]) -> None:
    """Of as many dimensions, none larger, none empty where the whole is not."""
    whole, part = [a for a, _ in sizes], [b for _, b in sizes]
    fine = all(min(1, a) <= b <= a for a, b in sizes)
    assert (no_slice(whole, part) == "") == fine
    assert no_slice([*whole, 2], part)


# ---------------------------------------------------------------- a narrower model
def test_hidden_layers_are_narrowed_and_the_output_is_not() -> None:
    """Rounded up, inside other layers too, with nothing left of the whole model's shapes."""
    text = model(
        "net", layer("Conv2D", "c", filters=10), layer("GlobalAveragePooling2D", "g"), layer("Flatten", "f"),
        layer("TimeDistributed", "t", layer=layer("Dense", "inner", units=7)), layer("Dense", "head", units=3),
    )  # fmt: skip
    found = json.loads(narrowed(text, 0.5))["config"]["layers"]
    assert [found[0]["config"]["filters"], found[3]["config"]["layer"]["config"]["units"]] == [5, 4]
    assert found[4]["config"]["units"] == 3 and "build_config" not in json.dumps(found)
    assert narrowed(text, 1) == text


@pytest.mark.parametrize(
    ("layers", "width", "says"),
    [
        ([layer("LSTM", "gates", units=8)], 0.5, "gates is of class LSTM"),
        (
            [layer("Conv2D", "c", filters=4), layer("Flatten", "flat"), layer("Dense", "d", units=2)],
            0.5,
            "flat flattens",
        ),
        ([layer("Dense", "d", units=2)], 0.0, "FEDERATED_WIDTH is 0; it must be above 0 and at most 1"),
        ([layer("Dense", "d", units=2)], 1.5, "FEDERATED_WIDTH is 1.5"),
        ([layer("Dense", "d", units=2)], float("nan"), "FEDERATED_WIDTH is nan"),
    ],
)
def test_what_has_no_leading_part_is_not_narrowed(layers: list[dict[str, Any]], width: float, says: str) -> None:
    """With the layer's name."""
    with pytest.raises(ConfigError, match=says):
        narrowed(model("net", *layers), width)
