"""Tensors through chunks: exact to the bit, and every lie in a manifest or a chunk is refused before it costs."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mainstem.errors import RefusedError
from mainstem.protocol.chunks import FEW, SMALLEST_CHUNK, Assembler, Limits, check_manifest, chunks, runs_of
from mainstem.protocol.messages import ChunkRun, Reason, TensorSpec, Weights
from mainstem.protocol.weights import (
    DTYPES,
    LARGEST_FLOAT64,
    Tensor,
    check_finite,
    check_specs,
    digest,
    payload_bytes,
    payload_of,
    specs_of,
    tensors_in,
)

dtypes = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: st.sampled_from([np.dtype(name), np.dtype(name).newbyteorder(">")])
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))


def named(tensors: list[Tensor]) -> tuple[TensorSpec, ...]:
    """Specs with the names t0, t1, ..."""
    return specs_of((f"t{i}", t) for i, t in enumerate(tensors))


def manifest(tensors: list[Tensor], count: int, /, **changes: Any) -> Weights:
    """An honest manifest of `count` chunks from offset 0 on, with changes."""
    specs = named(tensors)
    fields: dict[str, Any] = {
        "writer": "w",
        "update": "u",
        "chunks": (ChunkRun(0, 0, count),) if count else (),
        "nbytes": payload_bytes(specs),
        "sha256": digest(specs, tensors),
    }
    return Weights(**(fields | changes))


def records(tensors: list[Tensor], chunk_bytes: int) -> list[tuple[dict[str, bytes], bytes]]:
    """The chunk records as a reader sees them."""
    return [(dict(c.headers("w", "u")), bytes(c.data)) for c in chunks(payload_of(tensors), chunk_bytes)]


def assemble(weights: Weights, specs: Sequence[TensorSpec], sent: list[tuple[dict[str, bytes], bytes]]) -> list[Tensor]:
    """Check but for the number of chunks, then assemble."""
    check_manifest(weights, specs, Limits(), packed=True)
    assembler = Assembler(weights, specs)
    for headers, value in sent:
        assembler.add(headers, value)
    return tensors_in(specs, assembler.payload())


@given(st.lists(arrays, max_size=5), st.sampled_from([1, 3, 7, 64, 4096]))
def test_round_trip(tensors: list[Tensor], chunk_bytes: int) -> None:
    """Any tensors of any layout and byte order come back equal in dtype, shape and every bit."""
    sent = records(tensors, chunk_bytes)
    assert [len(value) for _, value in sent[:-1]] == [chunk_bytes] * (len(sent) - 1)
    back = assemble(manifest(tensors, len(sent)), named(tensors), sent)
    for a, b in zip(tensors, back, strict=True):
        assert b.dtype == a.dtype.newbyteorder("=") and b.shape == a.shape
        assert b.tobytes() == a.astype(a.dtype.newbyteorder("=")).tobytes()


@given(st.lists(arrays, min_size=1, max_size=3), st.data())
def test_any_other_records_are_refused(tensors: list[Tensor], data: st.DataObject) -> None:
    """A record that is lost, repeated, swapped, shortened, altered or another's never yields tensors."""
    sent = records(tensors, 16)
    weights = manifest(tensors, len(sent))
    if not sent:
        return
    i = data.draw(st.integers(0, len(sent) - 1))
    headers, value = sent[i]
    how = data.draw(
        st.sampled_from(["lose", "repeat", "swap", "cut", "grow", "flip", "writer", "update", "kind", "none"])
    )
    if how == "lose":
        del sent[i]
    elif how == "repeat":
        sent.insert(i, sent[i])
    elif how == "swap":
        j = data.draw(st.integers(0, len(sent) - 1))
        sent[i], sent[j] = sent[j], sent[i]
        if i == j:
            return
    elif how == "cut" and value:
        sent[i] = (headers, value[:-1])
    elif how == "flip" and value:
        sent[i] = (headers, bytes([value[0] ^ 1]) + value[1:])
    elif how == "none":
        sent[i] = ({}, value)
    elif how in ("writer", "update", "kind"):
        sent[i] = (headers | {how: b"other"}, value)
    else:
        sent[i] = (headers, value + b"\0")
    with pytest.raises(RefusedError) as refused:
        assemble(weights, named(tensors), sent)
    assert refused.value.reason in (Reason.MISSING_CHUNKS, Reason.CHECKSUM)


@given(
    st.lists(arrays, min_size=1, max_size=2),
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["kind", "writer", "update", "index"]), st.binary(max_size=4)),
            st.none() | st.binary(max_size=40),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_arbitrary_records(tensors: list[Tensor], sent: list[tuple[dict[str, bytes], bytes | None]]) -> None:
    """Arbitrary headers and bytes in the place of chunks raise RefusedError and nothing else."""
    assembler = Assembler(manifest(tensors, 1), named(tensors))
    with pytest.raises(RefusedError):
        for headers, value in sent:
            assembler.add(headers, value)
        assembler.payload()


counts = st.sampled_from([-(2**70), -1, 0, 1, 2, 3, 2**31, 2**40, 2**60, 2**62, 2**63, 2**64, 10**30])
odd_specs = st.builds(
    TensorSpec,
    name=st.text(max_size=3),
    dtype=st.sampled_from(
        [
            "float32",
            "O",
            ",f4",
            "f4",
            "float32,float32",
            "V8",
            "object",
            "",
            "U10",
            "datetime64",
            "bool",
            "complex64",
            "a" * 9999,
        ]
    ),
    shape=st.lists(counts, max_size=70).map(tuple),
)


@given(
    st.lists(odd_specs, max_size=4).map(tuple),
    st.lists(st.builds(ChunkRun, counts, counts, counts), max_size=4).map(tuple),
    counts,
    st.none() | st.integers(0, 10),
)
def test_arbitrary_manifests(
    tensors: tuple[TensorSpec, ...], runs: tuple[ChunkRun, ...], nbytes: int, before: int | None
) -> None:
    """Whatever a manifest claims, judging it raises RefusedError or nothing; what passes can be allocated."""
    weights = Weights(writer="w", update="u", chunks=runs, nbytes=nbytes, sha256="")
    limits = Limits(nbytes=1 << 20)
    try:
        check_manifest(weights, tensors, limits, before=before)
    except RefusedError:
        return
    assert weights.nbytes <= limits.nbytes
    with pytest.raises(RefusedError):
        Assembler(weights, tensors).payload()


def spec(dtype: str, *shape: int) -> tuple[TensorSpec, ...]:
    """One tensor's spec."""
    return (TensorSpec(name="t", dtype=dtype, shape=shape),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nbytes": 10 * 10**9}, Reason.TOO_LARGE),
        ({"nbytes": -1}, Reason.TOO_LARGE),
        ({"nbytes": 2**63}, Reason.TOO_LARGE),
        ({"tensors": spec("float32", 2**40), "nbytes": 2**42}, Reason.TOO_LARGE),
        ({"tensors": spec("float32", 2**40)}, Reason.SHAPE),
        ({"tensors": spec("float32", 2**32, 2**32)}, Reason.SHAPE),
        ({"tensors": spec("float32", 2**62, 0), "nbytes": 0}, Reason.SHAPE),
        ({"tensors": spec("float64", 0, 2**63), "nbytes": 0}, Reason.SHAPE),
        ({"tensors": spec("float32", -1, -4)}, Reason.SHAPE),
        ({"tensors": spec("float32", *[1] * 33)}, Reason.SHAPE),
        ({"tensors": spec("O", 4)}, Reason.SHAPE),
        ({"tensors": spec(",f4", 4)}, Reason.SHAPE),
        ({"tensors": spec("float32", 1) * 1_000_000}, Reason.TOO_LARGE),
        ({"chunks": ()}, Reason.MISSING_CHUNKS),
        ({"chunks": (ChunkRun(0, 0, 2**60),)}, Reason.MISSING_CHUNKS),
        ({"chunks": (ChunkRun(0, 0, -1), ChunkRun(0, 0, 2))}, Reason.MISSING_CHUNKS),
        ({"chunks": (ChunkRun(0, -5, 1),)}, Reason.MISSING_CHUNKS),
        ({"chunks": (ChunkRun(-1, 0, 1),)}, Reason.MISSING_CHUNKS),
    ],
)
def test_claims_are_refused_at_once(changes: dict[str, Any], reason: str) -> None:
    """Huge, negative and impossible claims are refused by the manifest alone, in no time and without memory."""
    tensors: list[Tensor] = [np.zeros(4, np.float32)]
    specs = changes.get("tensors", named(tensors))
    weights = manifest(tensors, 1, **{name: value for name, value in changes.items() if name != "tensors"})
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(RefusedError) as refused:
        check_manifest(weights, specs, Limits())
    elapsed, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.reason == reason
    assert len(refused.value.detail) < 500
    assert elapsed < 0.5 and peak < 1 << 20


def test_tensors_are_what_their_specs_say() -> None:
    """Another shape, dtype or number of tensors than the run's is refused with the difference, before it is sent."""
    model: list[Tensor] = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)]
    check_specs(named(model), model)
    others: list[tuple[list[Tensor], str]] = [
        ([np.zeros((3, 2), np.float32), np.zeros(3, np.float32)], r"'t0' is float32\[3, 2\]; the run has it as .*2, 3"),
        ([np.zeros((2, 3), np.float64), np.zeros(3, np.float32)], "float64"),
        ([np.zeros((2, 3), np.float32)], "1 tensors where 2"),
        ([np.zeros(3, np.float32), np.zeros((2, 3), np.float32)], "the run has"),
    ]
    for other, word in others:
        with pytest.raises(RefusedError, match=word) as refused:
            check_specs(named(model), other)
        assert refused.value.reason == Reason.SHAPE
    with pytest.raises(RefusedError, match="the run's 2 tensors take 36 bytes, the manifest says 24"):
        check_manifest(manifest(model, 1, nbytes=24), named(model), Limits())


def test_chunks_after_the_manifest() -> None:
    """A manifest can only name chunks that were written before it."""
    tensors: list[Tensor] = [np.zeros(4, np.float32)]
    weights = manifest(tensors, 1, chunks=(ChunkRun(0, 7, 1),))
    check_manifest(weights, named(tensors), Limits(), before=8)
    with pytest.raises(RefusedError, match="come after it"):
        check_manifest(weights, named(tensors), Limits(), before=7)


def test_smallest_chunks() -> None:
    """A payload in crumbs is refused: each costs a record; chunks of the smallest size are fine, and a few smaller."""
    tensors: list[Tensor] = [np.zeros(SMALLEST_CHUNK * 25, np.uint8)]
    check_manifest(manifest(tensors, 25 + FEW), named(tensors), Limits())
    with pytest.raises(RefusedError, match="names 42 chunks"):
        check_manifest(manifest(tensors, 26 + FEW), named(tensors), Limits())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=20))
def test_runs_name_the_same_offsets(positions: list[tuple[int, int]]) -> None:
    """Runs are only a shorter way to write the list of offsets."""
    runs = runs_of(positions)
    assert [(r.partition, r.first + i) for r in runs for i in range(r.count)] == positions
    assert all(r.count > 0 for r in runs)


@given(arrays, arrays)
def test_digest_depends_on_name_dtype_shape_and_bytes(a: Tensor, b: Tensor) -> None:
    """Two sets of tensors have one digest only where they are the same."""
    same = a.dtype.name == b.dtype.name and a.shape == b.shape and a.tobytes("C") == b.tobytes("C")
    if a.dtype.byteorder == b.dtype.byteorder:
        assert (digest(named([a]), [a]) == digest(named([b]), [b])) == same
    assert digest(named([a]), [a]) != digest(specs_of([("other", a)]), [a])
    assert digest(named([a, b]), [a, b]) != digest(named([a]), [a])


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3", "M8[s]", "V4"])
def test_dtypes_without_a_place_on_the_wire(dtype: Any) -> None:
    """What is no number or boolean cannot be published."""
    with pytest.raises(RefusedError, match="no place on the wire"):
        specs_of([("x", np.zeros(2, dtype))])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite(dtype: Any, bad: float) -> None:
    """One NaN or infinity anywhere is refused; 0-d, empty, integer and boolean tensors are fine."""
    fine: list[Tensor] = [np.zeros((0, 3), dtype), np.array(1, dtype), np.array(3), np.array([True]), np.ones(4, dtype)]
    check_finite(named(fine), fine)
    for broken in ([*fine, np.array([1, bad], dtype)], [np.array(bad, dtype)]):
        with pytest.raises(RefusedError, match="NaN or infinity") as refused:
            check_finite(named(broken), broken)
        assert refused.value.reason == Reason.NOT_FINITE


def test_numbers_that_a_sum_could_overflow() -> None:
    """Finite float64 beyond the bound are refused, up to it they pass."""
    for value, fine in ((LARGEST_FLOAT64, True), (-LARGEST_FLOAT64, True), (1.01 * LARGEST_FLOAT64, False)):
        tensors: list[Tensor] = [np.array([value])]
        if fine:
            check_finite(named(tensors), tensors)
        else:
            with pytest.raises(RefusedError, match="beyond"):
                check_finite(named(tensors), tensors)


def test_the_digest_is_compared() -> None:
    """Whole chunks that are other bytes than the manifest's are refused."""
    tensors: list[Tensor] = [np.arange(4, dtype=np.float32)]
    with pytest.raises(RefusedError, match="sha256") as refused:
        assemble(manifest(tensors, 1, sha256="0" * 64), named(tensors), records(tensors, 4096))
    assert refused.value.reason == Reason.CHECKSUM
    with pytest.raises(RefusedError, match="sha256"):
        assemble(manifest(tensors, 1), named(tensors), records([tensors[0] + 1], 4096))
