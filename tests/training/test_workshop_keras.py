"""The process with Keras: what ends it is refused, what comes after is done, and it is confined."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from federated_training.problems import FieldError
from federated_training.workshop import workshop
from federated_training.workshop.child import Allowance, ChildLimits
from federated_training.workshop.keras_child import Keras
from federated_training.workshop.sandbox import confine
from mainstem.runtime.processes import identity
from tests.support.patience import until

pytestmark = pytest.mark.training
needs_landlock = pytest.mark.skipif(confine.why_not() is not None, reason=str(confine.why_not()))

_LIMITS = ChildLimits(Allowance(300, 600), memory=1 << 30)


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keras]:
    """One process with Keras for the module, and its successors."""
    started = Keras([tmp_path_factory.mktemp("place")], _LIMITS)
    yield started
    started.stop()


def _layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "module": "keras.layers", "registered_name": None,
            "config": {"name": name.lower(), **config}}  # fmt: skip


def _config(*layers: dict[str, Any], shape: tuple[int, ...]) -> str:
    inputs = _layer("InputLayer", batch_shape=[None, *shape])
    return json.dumps({"class_name": "Sequential", "module": "keras",
                       "config": {"name": "s", "layers": [inputs, *layers]}})  # fmt: skip


def _ask(keras: Keras, **request: Any) -> Any:
    return keras.ask({"dir": str(keras._places[0]), "max_params": 1 << 20, **request})


def _refused(keras: Keras, **request: Any) -> str:
    with pytest.raises(FieldError) as caught:
        _ask(keras, **request)
    assert caught.value.message.endswith(".")
    return caught.value.message


_DENSE = _layer("Dense", units=2)
_GOOD = _config(_DENSE, shape=(4,))


def _works(keras: Keras) -> bool:
    return bool(_ask(keras, op="build", kind="json", config=_GOOD)["ok"])


@needs_landlock
def test_inputs_that_ask_for_too_much_are_refused_and_the_next_one_is_answered(keras: Keras) -> None:
    """Units of 2^62, a padding of 10^9, headers of arrays that never end, an archive of 20,000 directories."""
    place = keras._places[0]
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, )" + b"(" * 90
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(48)
    (place / "x.npy").write_bytes(array)
    with zipfile.ZipFile(place / "w.npz", "w") as archive:
        for name in ("t0000.npy", "t0001.npy"):
            archive.writestr(name, array)
    with zipfile.ZipFile(place / "m.keras", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"assets/{number}/", "")
    padding = _config(_DENSE, _layer("ZeroPadding1D", padding=10**9), shape=(4, 4))
    asked: list[tuple[dict[str, Any], str]] = [
        ({"kind": "json", "config": _config(_layer("Dense", units=2**62), shape=(4,))}, "must be below 2^53"),
        ({"kind": "json", "config": padding}, "fails on samples of zeros"),
        ({"kind": "keras", "file": "m.keras"}, "no part of a Keras model"),
        ({"op": "predict", "architecture": _GOOD, "inputs": "x.npy", "out": "y.npy"}, "samples cannot be read"),
        ({"op": "predict", "architecture": _GOOD, "weights": "w.npz", "inputs": "x.npy", "out": "y.npy"}, "arrays c"),
    ]
    for request, says in asked:
        answer = _ask(keras, **{"op": "build", **request})
        assert not answer["ok"] and says in answer["error"]["message"], answer
    assert _works(keras)
    saved = Path(__file__).parent / "keras2"
    for name in ("keras-2.15-branches.keras", "keras-2.15-branches-h5.h5"):
        shutil.copy(saved / name, place / "saved")
        answer = _ask(keras, op="build", kind="keras", file="saved")
        assert answer["ok"] and (place / "saved").exists(), answer


@needs_landlock
def test_it_is_confined_and_its_time_is_for_all_operations(keras: Keras, tmp_path: Path) -> None:
    """No new privileges, a filter, no capabilities; where its time is over nothing is done any more."""
    assert _works(keras)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{keras._child._process.pid}/status").read_text().splitlines()
    )
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapPrm"], 16)) == ("1", "2", 0)
    brief = Keras([tmp_path], replace(_LIMITS, time=Allowance(300, 1)))
    first = _refused(brief, op="build", kind="json", config=_GOOD)
    assert first == "The model took more than 1 seconds, and was ended."
    assert _refused(brief, op="build", kind="json", config=_GOOD) == first
    until(lambda: identity(brief._child._process.pid) is None)


def test_where_nothing_can_confine_no_model_of_a_person_s_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """JSON, files and source are refused with the reason, before anything opens them; what is our own is opened."""
    monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    asked: list[dict[str, Any]] = [{"kind": "json", "config": _GOOD}, {"kind": "keras", "file": "m.keras"},
                                   {"kind": "source", "source": {"code": "model = 3"}}]  # fmt: skip
    requests = [{"op": "build", "dir": str(tmp_path), **request} for request in asked]
    monkeypatch.setattr(Keras, "_exchange", lambda keras, request: {"ok": True, "kind": request["kind"]})
    requests.append({**requests[1], "own": True})
    *refused, own = workshop._answers(requests, [tmp_path], 1 << 20, _LIMITS, _LIMITS)
    assert own == {"ok": True, "kind": "keras"}
    assert [answer["error"]["field"] for answer in refused] == ["config", "file", "source"]
    assert all("no Landlock" in answer["error"]["message"] for answer in refused)


def test_what_ends_keras_is_refused_and_the_next_one_is_answered(keras: Keras) -> None:
    """A crash, and more memory than is allowed: each ends one operation."""
    assert _works(keras)
    process = keras._child._process
    threading.Timer(0.2, os.kill, (process.pid, signal.SIGABRT)).start()
    with pytest.raises(FieldError) as caught:
        while True:
            _works(keras)
    assert caught.value.message.startswith("This crashes Keras, whose process was ended by SIGABRT")
    assert caught.value.field == "model" and identity(process.pid) is None
    hungry = _config(_DENSE, _layer("ZeroPadding1D", padding=10**8), shape=(4, 4))
    assert "took more than 1024 MiB of memory, and was ended" in _refused(keras, op="build", kind="json", config=hungry)
