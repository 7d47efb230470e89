"""The same updates make the same bytes whatever a machine's arithmetic is made of: here its vector units, its BLAS and
its threads are changed; `tools/another_machine.sh` runs the same digests on another architecture."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.patience import PATIENCE
from tests.support.strategies import CHOSEN
from tests.vectors import machines
from tests.vectors.generate import COMMAND

KERNELS = {"x86_64": ("Nehalem", "Haswell"), "aarch64": ("ARMV8", "NEOVERSEN1")}
"""Of OpenBLAS, by machine: of x86's the older multiplies and adds by itself, the newer fuses both and rounds once."""


@pytest.mark.parametrize("simd", [False, True], ids=["plain", "simd"])
def test_other_arithmetic(simd: bool) -> None:
    """Without NumPy's vector units or with them, by an older kernel of BLAS or a newer, on one of its threads or four.

    BLAS is as it is where we do not know its kernels' names.
    """
    kernel = KERNELS.get(platform.machine(), ("", ""))[simd]
    others = {name: value for name, value in os.environ.items() if not name.startswith(("NPY_", "OPENBLAS_"))}
    chosen = {
        "NPY_DISABLE_CPU_FEATURES": "" if simd else " ".join(machines.vector_units()),
        **({"OPENBLAS_CORETYPE": kernel} if kernel else {}),
        "OPENBLAS_NUM_THREADS": "4" if simd else "1",
        "OPENBLAS_VERBOSE": "2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.vectors.machines"],
        env=others | chosen,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (
        f"where a change meant it, run `{COMMAND}`:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )
    assert f"Core: {kernel}".upper() in done.stderr.upper() or not kernel
    assert ("the baseline" in done.stdout) == (not simd or not machines.vector_units())


def test_every_strategy_has_a_run() -> None:
    """In `sync` at least; and a mode that counts late updates does count some."""
    runs = dict(machines.chosen())
    assert {name.removesuffix(" sync") for name in runs if name.endswith(" sync")} == set(CHOSEN)
    made = machines.rounds(runs["fedavg buffered"])
    assert any(each.base.version < record.base.version for record in made for each in record.accepted)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["scaffold sync", "bulyan sync", "fedadam sync slice"])
def test_threads_of_ours(name: str, threads: int) -> None:
    """However many fold at a time."""
    run = dict(machines.chosen())[name]
    assert machines.run_digest(machines.rounds(run, threads)) == machines.published()[name]


def test_a_run_that_differs_in_one_bit_has_another_digest() -> None:
    """Of a number that a strategy decided, too."""
    _, run = next(machines.chosen())
    made = machines.rounds(run)
    first = made[0].accepted[0]
    near = msgspec.structs.replace(first, coefficient=math.nextafter(first.coefficient, 0))
    other = msgspec.structs.replace(made[0], accepted=(near, *made[0].accepted[1:]))
    assert machines.run_digest([other, *made[1:]]) != machines.run_digest(made)
