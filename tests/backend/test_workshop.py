"""The workshop's wrapper: a child without secrets, within limits, whose every end is a sentence."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.catalog import scratch, workshop
from backend.catalog.arrays import array_of, npz, specs_in
from backend.catalog.blueprints import TEMPLATES
from backend.rest.problems import Problem
from mainstem.protocol.weights import specs_of
from mainstem.runtime.processes import descendants

pytestmark = pytest.mark.backend

Child = Any


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Child:
    """Puts a script in the workshop's place; `request` and `Path` are at hand, `answer(...)` ends it."""

    def install(body: str) -> None:
        script = tmp_path / "child.py"
        head = (
            "import json, os, sys, time\nfrom pathlib import Path\nrequest = json.load(sys.stdin)\n"
            "def answer(*answers): print(json.dumps({'answers': answers}))\n"
        )
        script.write_text(head + body)
        monkeypatch.setattr(workshop, "COMMAND", (sys.executable, str(script)))

    return install


def refusal(*operations: dict[str, Any], **options: Any) -> Problem:
    """The problem that a run ends with."""
    with pytest.raises(Problem) as caught:
        workshop.run(operations or [{"op": "build"}], **options)
    return caught.value


def test_files_and_answers(child: Child) -> None:
    """Files go in, answers and files come out, and the directory is gone afterwards."""
    child(
        "op = request['ops'][0]\nPath('out').write_bytes(Path(op['dir'], 'in').read_bytes() * 2)\n"
        "answer({'ok': True, 'dir': op['dir'], 'cwd': os.getcwd(), 'limits': request['limits']})"
    )
    result = workshop.run([{"op": "x"}], files={"in": b"ab"}, wanted=["out"], seconds=9)
    assert result.files == {"out": b"abab"}
    (answer,) = result.answers
    assert answer["dir"] == answer["cwd"] and answer["limits"] == {"seconds": 9, "wall_seconds": 45}
    assert not Path(answer["dir"]).exists()


def test_no_secrets(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's environment holds none of ours."""
    monkeypatch.setenv("MAINSTEM_SECRET_KEY", "hush")
    monkeypatch.setenv("DATABASE_URL", "postgres://hush")
    child("answer({'ok': True, 'env': dict(os.environ)})")
    (answer,) = workshop.run([{"op": "x"}]).answers
    assert "hush" not in str(answer["env"])
    assert set(answer["env"]) <= {
        *workshop.PASSED_ON, "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING",
        "CUDA_VISIBLE_DEVICES", "LC_CTYPE",
    }  # fmt: skip


def test_refusal_names_field_and_line(child: Child) -> None:
    """What the workshop says of a field reaches the user as it is."""
    child("answer({'ok': False, 'error': {'field': 'source.code', 'message': 'no such name', 'line': 4}})")
    problem = refusal()
    assert (problem.status_code, problem.field, problem.line) == (400, "source.code", 4)
    assert str(problem.detail) == "no such name"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("print('nonsense')", "without an answer"),
        ("print('the reason', file=sys.stderr); sys.exit(3)", "the reason"),
        ("os.kill(os.getpid(), 9)", "memory or was killed"),
        ("pass", "without an answer"),
        ("print('[1, 2]')", "without an answer"),
        ("answer(3)", "without an answer"),
        ("print(json.dumps({'answers': 7}))", "without an answer"),
        ("print('[' * 100_000)", "without an answer"),
        ("os.mkdir('w'); answer({'ok': True})", "wrote no file"),
        ("answer({'ok': True})", "wrote no file"),
        ("os.symlink('/etc/passwd', 'w'); answer({'ok': True})", "wrote no file"),
        ("os.mkfifo('w'); answer({'ok': True})", "wrote no file"),
    ],
)
def test_broken_children(child: Child, body: str, word: str) -> None:
    """A child that dies, babbles or plays tricks is a 503 with the reason."""
    child(body)
    problem = refusal(wanted=["w"])
    assert problem.status_code == 503 and word in str(problem.detail)


def test_a_refusal_without_a_reason(child: Child) -> None:
    """Where the error is not of the shape that is agreed, the request is refused all the same."""
    child("answer({'ok': False, 'error': 'no'})")
    assert refusal().status_code == 400


def test_wall_limit(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not come back is ended with everything it started."""
    monkeypatch.setattr(workshop, "GRACE_SECONDS", 0)
    monkeypatch.setattr(workshop, "PATIENCE", 1)
    child("pid = os.fork()\nPath(request['ops'][0]['note']).write_text(str(pid)) if pid else None\ntime.sleep(60)")
    started = time.monotonic()
    note = Path(os.environ.get("TMPDIR", "/tmp"), f"note-{os.getpid()}")
    problem = refusal({"op": "x", "note": str(note)}, seconds=1)
    assert problem.status_code == 400 and "1 s" in str(problem.detail)
    assert time.monotonic() - started < 10
    pid = int(note.read_text())
    note.unlink()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_only_the_end_of_what_it_says_is_read() -> None:
    """Gigabytes of standard error cost no memory: what is read is bounded, from the end."""

    class Log(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None and 0 <= size <= workshop.TAIL_BYTES
            return super().read(size)

    with pytest.raises(Problem, match="the last words"):
        workshop._parse(io.BytesIO(), Log(b"x" * 100_000 + b"\nthe last words"), 1, 1)


def test_its_directory_is_removed_however_deep_and_also_after_a_kill(
    child: Child, tmp_path: Path, settings: Any
) -> None:
    """Directories that nobody holds any more are removed by the next run, those of others are not."""
    child(
        "[(os.mkdir('d'), os.chdir('d')) for _ in range(1200)]; os.chmod('.', 0)\n"
        "answer({'ok': True, 'dir': request['ops'][0]['dir']})"
    )
    (answer,) = workshop.run([{"op": "x"}]).answers
    assert not Path(answer["dir"]).exists()
    places = {name: tmp_path / (scratch.PREFIX + name) for name in ("left", "held", "new")}
    for name, place in places.items():
        (place / "deep" / "er").mkdir(parents=True)
        os.utime(place, (0, 0) if name != "new" else None)
    lock = os.open(places["held"], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with scratch.directory(tmp_path) as made:
        os.utime(made, (0, 0))
        scratch.sweep(tmp_path)
        assert made.exists()
    os.close(lock)
    assert sorted(path.name for path in tmp_path.glob(f"{scratch.PREFIX}*")) == [
        places[name].name for name in ("held", "new")
    ]


def test_one_at_a_time(child: Child) -> None:
    """While the workshop is at work the next request waits, and is told so when that takes too long."""
    child("answer({'ok': True})")
    with workshop._room:
        problem = refusal(seconds=1)
    assert problem.status_code == 503 and "busy" in str(problem.detail)
    assert workshop.run([{"op": "x"}]).answers == [{"ok": True}]


STAYS = """
    import itertools
    for number in itertools.count() if "--stay" in sys.argv else [0]:
        if number: request = json.loads(sys.stdin.readline() or "0")
        if not request: break
        op = request["ops"][0]
        if op["op"] == "die": os._exit(3)
        Path(op["dir"], "out").write_bytes(Path(op["dir"], "in").read_bytes() * 2)
        error = {"field": "inputs", "message": "bad"}
        done = {"ok": op["op"] != "bad", "error": error, "pid": os.getpid(), "cwd": os.getcwd(), "dir": op["dir"]}
        print(json.dumps({"answers": [done]}), flush=True)
"""


def test_a_child_that_stays_answers_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For its own model alone: a refusal leaves it, its death is a 503, another model or another run ends it."""
    script = tmp_path / "stays.py"
    head = "import json, os, sys\nfrom pathlib import Path\nif True:\n    request = json.loads(sys.stdin.readline())\n"
    script.write_text(head + STAYS)
    monkeypatch.setattr(workshop, "COMMAND", (sys.executable, "-S", str(script)))

    def predict(keep: str | None, op: str = "predict") -> dict[str, Any]:
        done = workshop.run([{"op": op}], files={"in": b"ab"}, wanted=["out"], keep=keep)
        assert done.files == {"out": b"abab"}
        return dict(done.answers[0])

    first = predict("a")
    assert Path(first["dir"]).parent == Path(first["cwd"]) and not Path(first["dir"]).exists()
    assert predict("a")["pid"] == first["pid"]
    with pytest.raises(Problem, match="bad"):
        predict("a", "bad")
    assert predict("a")["pid"] == first["pid"]
    other = predict("b")
    assert other["pid"] != first["pid"] and not _alive(first["pid"]) and not Path(first["cwd"]).exists()
    with pytest.raises(Problem, match="was killed") as caught:
        predict("b", "die")
    assert caught.value.status_code == 503 and not Path(other["cwd"]).exists()
    third = predict("b")
    assert predict(None)["pid"] not in (third["pid"], other["pid"])
    assert not _alive(third["pid"])


def test_npz_round_trip() -> None:
    """Arrays of any dtype and shape come back in order; other bytes are refused."""
    arrays: list[Any] = [
        np.array(1.5, np.float16),
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.zeros((0, 4), np.float32),
        np.array(True),
    ]
    names = [str(number) for number in range(len(arrays))]
    assert specs_in(io.BytesIO(npz(arrays)), names) == specs_of(zip(names, map(np.asarray, arrays), strict=True))
    bad = b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4', ]" + bytes(9)
    for data in (b"PK nonsense", b"PK\x03\x04 nonsense", npz(arrays)[:-30], b"", bad):
        with pytest.raises(Problem, match="cannot be read"):
            specs_in(io.BytesIO(data), names)
        with pytest.raises(Problem, match="cannot be read"):
            array_of(data)


def test_weights_that_unfold_are_refused() -> None:
    """What the workshop writes is not compressed: a bomb never gets to NumPy."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t0000.npy", bytes(1 << 20))
    with pytest.raises(Problem, match="cannot be read"):
        specs_in(buffer, ["t"])


@pytest.mark.training
def test_real_workshop(tmp_path: Path) -> None:
    """The real one builds every template with the defaults that we list, trains, exports and predicts."""
    builds: list[dict[str, Any]] = []
    for template in TEMPLATES:
        params = {param["name"]: param["default"] for param in template["params"]}
        builds.append({"op": "build", "kind": "template", "template": {"name": template["name"], "params": params}})
    result = workshop.run(builds, wanted=["weights.npz"])
    first, last = result.answers[0], result.answers[-1]
    assert first["input"]["shape"] == [784] and first["output"]["shape"] == [10]
    training = {"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"], "learning_rate": None}
    labels = {"shape": last["input"]["shape"], "label_shape": last["output"]["shape"], "classes": 10}
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28, 1), np.float32))
    whole = {"architecture": last["architecture"], "weights": "weights.npz"}
    made = workshop.run(
        [
            {"op": "check_training", "architecture": last["architecture"], "training": training, "input": labels},
            {"op": "export", **whole, "out": "model.keras"},
            {"op": "predict", **whole, "inputs": "x.npy", "out": "y.npy"},
        ],
        files={"weights.npz": result.files["weights.npz"], "x.npy": tmp_path / "x.npy"},
        wanted=["model.keras", "y.npy"],
    )
    assert made.files["model.keras"].startswith(b"PK")
    assert refusal({**builds[0], "template": {"name": "mlp", "params": {"units": 0}}}).field == "template.params.units"


@pytest.mark.training
def test_predictions_start_keras_once(tmp_path: Path) -> None:
    """The real one: the same process answers again, confined, as exactly as one of its own, also after a refusal.

    One that was killed is replaced; what is no prediction is not done there.
    """
    template = {"name": "mlp", "params": {"input_shape": [4], "units": [8], "classes": 3}}
    build = {"op": "build", "kind": "template", "template": template}
    built = workshop.run([build], wanted=["weights.npz"])
    operation = {
        "op": "predict", "architecture": built.answers[0]["architecture"], "weights": "weights.npz", "inputs": "x.npy",
        "out": "y.npy",
    }  # fmt: skip

    def predict(x: Any, keep: str | None) -> Any:
        buffer = io.BytesIO()
        np.save(buffer, x)
        files: dict[str, bytes | Path] = {"weights.npz": built.files["weights.npz"], "x.npy": buffer.getvalue()}
        return array_of(workshop.run([operation], files=files, wanted=["y.npy"], keep=keep).files["y.npy"])

    def keras() -> int:
        """The confined process below the child that stays."""
        (child,) = descendants(workshop._keeper._kept.process.pid)  # type: ignore[union-attr]
        return child

    x = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    alone = predict(x, None)
    assert np.array_equal(predict(x, "a" * 64), alone)
    process = keras()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    assert status["Seccomp"].strip() == "2" and status["CapEff"].strip() == "0" * 16
    with pytest.raises(Problem) as caught:
        predict(x[:, :3], "a" * 64)
    assert caught.value.field == "inputs"
    assert np.array_equal(predict(x[:2], "a" * 64), alone[:2]) and keras() == process
    os.kill(process, 9)
    try:
        predict(x, "a" * 64)
    except Problem as problem:  # whom it struck is told; not where its end was noticed before
        assert "SIGKILL" in str(problem)  # noqa: PT017
    assert np.array_equal(predict(x, "a" * 64), alone) and keras() != process
    with pytest.raises(Problem, match="nothing but predict"):
        workshop.run([build], keep="a" * 64)
    workshop._keeper.end()
