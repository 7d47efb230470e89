"""Changes encoded and decoded: bounds of the error, chance, any slice by itself, and payloads that nobody wrote."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mainstem.errors import ConfigError, RefusedError
from mainstem.protocol.encodings import ENCODINGS, Elements, Encoding, Payload, fetching, make, seed_of, whole
from mainstem.protocol.encodings.halves import BFloat16, Float16
from mainstem.protocol.encodings.scaled import BLOCK
from mainstem.protocol.messages import EncodingChoice, Reason

NAMES = sorted(ENCODINGS)
TOPS = {"int8": 127, "int4": 7}


def codec(name: str, **params: object) -> Encoding:
    """The encoding of that name."""
    made = make(EncodingChoice(name=name, params=params))
    assert made is not None
    return made


def normal(elements: int, size: float = 1.0) -> Elements:
    """A change such as training makes it."""
    return (np.random.default_rng(elements).standard_normal(elements) * size).astype(np.float32)


changes = st.one_of(
    st.integers(0, 1500).map(normal),
    arrays(np.float32, st.integers(0, 700), elements=st.floats(-(2.0**60), 2.0**60, width=32)),
    arrays(np.float32, st.integers(0, 700), elements=st.floats(-(2.0**-10), 2.0**-10, width=32)),
)


@given(seed=st.integers(0, 2**32), elements=st.integers(1, 3000), kinds=st.integers(1, 20))
def test_of_equal_sizes_the_first_are_sent(seed: int, elements: int, kinds: int) -> None:
    """Whichever a processor's vector units would come upon first."""
    change = np.random.default_rng(seed).integers(-kinds, kinds + 1, elements).astype(np.float32)
    payload = codec("topk", fraction=0.25).encode(change, 0)
    kept = payload.size // 8
    first = np.argsort(-np.abs(change), kind="stable")[:kept]
    assert payload[: 4 * kept].view("<u4").tolist() == sorted(first.tolist())


@pytest.mark.parametrize("name", NAMES)
@given(change=changes, seed=st.integers(0, 2**128 - 1))
def test_error_is_bounded(name: str, change: Elements, seed: int) -> None:
    """By a step of the scale, by half of a last place, by the smallest element that was sent."""
    encoding = codec(name, **({"fraction": 0.25} if name == "topk" else {}))
    payload = encoding.encode(change, seed)
    assert payload.size == encoding.nbytes(change.size)
    decoded = whole(encoding, payload, change.size).astype(np.float64)
    assert np.abs(decoded).max(initial=0.0) <= encoding.check(fetching(payload), change.size)
    errors = np.abs(decoded - change)
    if name in TOPS:
        padded = np.concatenate([np.abs(change), np.zeros(-change.size % BLOCK, np.float32)]).reshape(-1, BLOCK)
        steps = np.repeat(padded.max(axis=1) / TOPS[name], BLOCK)[: change.size].astype(np.float64)
        assert (errors <= np.maximum(steps * (1 + 2**-8 + 1e-5), 2.0**-100)).all()
    elif name == "topk":
        sent = decoded != 0
        assert (decoded[sent] == change[sent]).all() and sent.sum() <= math.ceil(change.size / 4)
        assert np.abs(change[~sent]).max(initial=0.0) <= np.abs(change[sent]).min(initial=np.inf)
    elif name == "float16":
        clipped = np.clip(change, -65504, 65504)
        assert decoded.tolist() == clipped.astype(np.float16).astype(np.float64).tolist()
    else:
        assert (errors <= np.maximum(np.abs(change) * 2.0**-8, 2.0**-133)).all()


@pytest.mark.parametrize("name", NAMES)
@given(change=changes, seed=st.integers(0, 2**64), data=st.data())
def test_any_slice_is_that_of_the_whole(name: str, change: Elements, seed: int, data: st.DataObject) -> None:
    """To the bit, wherever it begins and ends; and the same seed gives the same bytes."""
    encoding = codec(name)
    payload = encoding.encode(change, seed)
    assert payload.tobytes() == encoding.encode(change.copy(), seed).tobytes()
    start = data.draw(st.integers(0, change.size))
    into = np.full(data.draw(st.integers(0, change.size - start)), np.nan, np.float32)
    encoding.decode(fetching(payload), change.size, start, into)
    assert into.tobytes() == whole(encoding, payload, change.size)[start : start + into.size].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_change_longer_than_a_stride(name: str) -> None:
    """Pieces of the work do not show: a slice across two of them, and the last block, which is cut."""
    encoding, change = codec(name), normal(2 * (1 << 16) + 777, 1e-3)
    payload = encoding.encode(change, 5)
    full, into = whole(encoding, payload, change.size), np.empty(70_001, np.float32)
    encoding.decode(fetching(payload), change.size, 60_003, into)
    assert into.tobytes() == full[60_003:130_004].tobytes()
    assert np.linalg.norm(full - change) < np.linalg.norm(change)


@pytest.mark.parametrize("name", TOPS)
def test_rounding_is_a_matter_of_chance_without_bias(name: str) -> None:
    """The mean over seeds is the change, within five standard errors of a step; other seeds, other bytes."""
    encoding, change, draws = codec(name), normal(BLOCK), 2000
    found = np.array([whole(encoding, encoding.encode(change, seed), BLOCK) for seed in range(draws)], np.float64)
    step = np.abs(change).max() / TOPS[name]
    assert np.abs(found.mean(axis=0) - change).max() < step * (5 * 0.5 / math.sqrt(draws) + 2**-9)
    assert len({row.tobytes() for row in found}) == draws


@pytest.mark.parametrize("name", NAMES)
def test_what_is_rounded_off_comes_later(name: str) -> None:
    """Error feedback: over many rounds the decoded sum keeps up with the changes' sum."""
    encoding, residual = codec(name, **({"fraction": 0.1} if name == "topk" else {})), np.zeros(1000, np.float32)
    change, total = normal(1000), np.zeros(1000)
    for number in range(60):
        wanted = change + residual
        residual = wanted.copy()
        payload = encoding.feedback(residual, number)
        decoded = whole(encoding, payload, 1000)
        assert payload.tobytes() == encoding.encode(wanted, number).tobytes()
        assert residual.tobytes() == (wanted - decoded).tobytes()
        total += decoded
    assert np.linalg.norm(total / 60 - change) < 0.25 * np.linalg.norm(change)
    assert np.allclose(total + residual, 60.0 * change, atol=1e-2)


def test_sizes_follow_from_the_number_of_elements() -> None:
    """A payload says nothing of its own size."""
    assert {name: codec(name).nbytes(1000) for name in NAMES} == {
        "bfloat16": 2000, "float16": 2000, "int8": 1016, "int4": 16 + 3 * 128 + 128, "topk": 80,
    }  # fmt: skip
    assert all(codec(name).nbytes(0) == 0 and codec(name).encode(normal(0), 1).size == 0 for name in NAMES)
    assert codec("topk", fraction=0.5).nbytes(3) == 16


def test_halves_are_numpys() -> None:
    """All 65,536 of them, and what rounds to them, subnormal numbers too."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    finite = np.isfinite(halves.view(np.float16))
    found = Float16({}).widen(halves)
    assert (found[finite] == halves.view(np.float16).astype(np.float32)[finite]).all()
    change = np.random.default_rng(1).integers(0, 1 << 32, 1 << 18, dtype=np.uint32).view(np.float32)
    change = np.concatenate([change[np.isfinite(change)], normal(1 << 16, 1e-5), normal(1 << 16, 1e-7)])
    due = np.clip(change, -65504, 65504).astype(np.float16)
    assert Float16({}).narrow(change).tobytes() == due.tobytes()
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8)], np.float32)  # to the even one of two neighbours
    assert BFloat16({}).widen(BFloat16({}).narrow(ties)).tolist() == [1.0, 1 + 2**-6, -1.0]


# ---------------------------------------------------------------- what no encoder wrote
def refused(encoding: Encoding, payload: Payload, elements: int) -> str:
    """The sentence of its refusal."""
    with pytest.raises(RefusedError) as caught:
        encoding.check(fetching(payload), elements)
    assert caught.value.reason == Reason.ENCODING
    return caught.value.detail


@pytest.mark.parametrize("name", TOPS)
@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (np.nan, "a scale is NaN or infinity"),
        (np.inf, "a scale is NaN or infinity"),
        (-np.inf, "a scale is NaN or infinity"),
        (-1.0, "a scale is negative"),
        (-0.0, "a scale is negative"),
        (3e38, "a scale is 3e+38; the largest that decodes to numbers is"),
    ],
)
def test_scales_that_are_none(name: str, scale: float, said: str) -> None:
    """In any block."""
    encoding, elements = codec(name), 5 * BLOCK
    payload = encoding.encode(normal(elements), 1)
    payload[12:16].view("<f4")[...] = scale
    assert refused(encoding, payload, elements).startswith(said)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_change_that_holds_no_number_is_refused(name: str, number: float) -> None:
    """A diverged client's change says so, whatever carries it. Half precision takes infinity for its largest number."""
    change = normal(1000)
    change[500] = number
    encoding = codec(name)
    payload = encoding.encode(change, 1)
    if name == "float16" and not np.isnan(number):
        assert encoding.check(fetching(payload), 1000) == 65504
    else:
        assert "NaN or infinity" in refused(encoding, payload, 1000)


def test_the_largest_and_the_smallest_change_stay_numbers() -> None:
    """No scale overflows, and none is subnormal."""
    for name in NAMES:
        encoding = codec(name)
        for size in (2.0**119, 1e30, 1e-30, 1e-37, 1e-45, 0.0):
            change = np.full(300, size, np.float32)
            payload = encoding.encode(change, 1)
            assert math.isfinite(encoding.check(fetching(payload), 300))
            assert np.isfinite(whole(encoding, payload, 300)).all()


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([3, 3, 9, 12], "not in ascending order, each of them once"),
        ([3, 2, 9, 12], "not in ascending order, each of them once"),
        ([3, 4, 9, 400], "an element at index 400 of 400"),
        ([3, 4, 9, 2**32 - 1], "an element at index 4,294,967,295 of 400"),
    ],
)
def test_indices_of_a_sparse_change(places: list[int], said: str) -> None:
    """Repeated, unsorted, out of range."""
    encoding = codec("topk")
    payload = encoding.encode(normal(400), 1)
    payload[:16].view("<u4")[...] = places
    assert said in refused(encoding, payload, 400)


@pytest.mark.parametrize("name", NAMES)
@given(payload=arrays(np.uint8, 400), elements=st.integers(1, 100))
def test_any_bytes_of_the_right_length_are_refused_or_numbers(name: str, payload: Payload, elements: int) -> None:
    """And no further from zero than was said."""
    encoding = codec(name)
    mine = payload[: encoding.nbytes(elements)]
    try:
        largest = encoding.check(fetching(mine), elements)
    except RefusedError:
        return
    assert np.abs(whole(encoding, mine, elements)).max() <= largest < math.inf


# ---------------------------------------------------------------- choices
@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (EncodingChoice(name="int3"), "encoding_up.name 'int3' is not known; choose one of raw, float16"),
        (EncodingChoice(name="raw", params={"a": 1}), "encoding_up.params: raw has no parameters"),
        (EncodingChoice(name="topk", params={"fraction": 0}), "encoding_up.params.fraction is 0; it must be a number"),
        (EncodingChoice(name="int8", params={"bits": 9}), "encoding_up.params.bits is not a parameter of int8"),
    ],
)
def test_choices_that_are_none(choice: EncodingChoice, said: str) -> None:
    """The sentence begins with the field."""
    with pytest.raises(ConfigError) as caught:
        make(choice, "encoding_up")
    assert str(caught.value).startswith(said)


def test_seeds_tell_words_apart() -> None:
    """However they are cut."""
    assert len({seed_of("ab", "c", 1), seed_of("a", "bc", 1), seed_of("abc", 1), seed_of("ab", "c", 11)}) == 4
