"""Models between Kafka, the database and a file, a piece at a time: the same bytes, and nothing of a liar's."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backend.catalog.arrays import npz, payload_in, specs_in, write_npz
from backend.rest.problems import Problem
from mainstem.errors import RefusedError
from mainstem.protocol.weights import DTYPES, cut, payload_of, specs_of

pytestmark = pytest.mark.backend

models = st.lists(
    hnp.arrays(
        st.sampled_from([np.dtype(order + np.dtype(name).str[1:]) for name in sorted(DTYPES) for order in "<>"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=4,
)


@given(models, st.integers(1, 40), st.booleans())
def test_there_and_back(arrays: list[Any], nbytes: int, fortran: bool) -> None:
    """What the workshop writes is sent as its payload, however it lies; a payload becomes a file that NumPy reads."""
    names = [f"n{number}" for number in range(len(arrays))]
    specs = specs_of(zip(names, arrays, strict=True))
    file = BytesIO(npz([np.asfortranarray(a) if fortran and a.ndim else a for a in arrays]))
    assert specs_in(file, names) == specs
    sent = b"".join(payload_in(file, specs))
    assert sent == b"".join(payload_of(arrays))
    write_npz(made := BytesIO(), specs, cut([sent], nbytes))
    assert specs_in(made, names) == specs
    made.seek(0)
    with np.load(made, allow_pickle=False) as archive:
        back = [archive[f"t{number:04d}"] for number in range(len(arrays))]
    assert [a.tobytes() for a in back] == [a.astype(a.dtype.newbyteorder("=")).tobytes() for a in arrays]


def test_a_file_that_lies_is_refused() -> None:
    """Damaged, cut off, compressed, with other arrays, of types without a place on the wire."""
    arrays: list[Any] = [np.zeros((100, 3), np.float32), np.zeros(2)]
    good = npz(arrays)
    np.savez_compressed(small := BytesIO(), t0000=arrays[0], t0001=arrays[1])
    header = good.index(b"(100, 3)")
    for bad in (b"", b"PK", good[:-50], small.getvalue(), good[:header] + b"(900, 3)" + good[header + 8 :]):
        with pytest.raises(Problem):
            specs_in(BytesIO(bad), ["a", "b"])
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(Problem):
            specs_in(BytesIO(good), names)
    with pytest.raises(RefusedError, match="'a' has dtype complex128"):
        specs_in(BytesIO(npz([np.zeros(2, complex)])), ["a"])
    with pytest.raises(Problem):
        list(payload_in(BytesIO(good), specs_of([("a", arrays[0].T), ("b", arrays[1])])))


def test_a_payload_that_goes_wrong_is_heard_of() -> None:
    """What is only known at its end, and one that is too long or too short."""
    (spec,) = specs_of([("a", np.zeros(4, np.float32))])

    def failing() -> Iterator[bytes]:
        yield bytes(16)
        raise RefusedError("checksum", "it does not hash")

    with pytest.raises(RefusedError, match="hash"):
        write_npz(BytesIO(), [spec], failing())
    with pytest.raises(ValueError, match="longer"):
        write_npz(BytesIO(), [spec], [bytes(16), bytes(1)])


def test_no_model_is_held_whole(tmp_path: Any) -> None:
    """A tensor of 64 MB goes to a file and from it in pieces of one."""
    big = np.zeros(16 << 20, np.float32)
    specs = specs_of([("a", big)])
    tracemalloc.start()
    with (tmp_path / "x").open("w+b") as file:
        write_npz(file, specs, cut(payload_of([big]), 1 << 20))
        assert specs_in(file, ["a"]) == specs
        assert sum(len(piece) for piece in payload_in(file, specs)) == big.nbytes
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
