"""Exported runs: whole without a broker, written the same every time, refused when they are not what they say."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.errors import ConfigError, DecodeError, LogError, MainstemError, UnreadableError
from mainstem.lineage import RunFile, export, recall, replay, verify
from mainstem.lineage.runfile import MANIFEST, RunManifest
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import aggregator_topic, control_topic
from tests.support.federations import rounds_of
from tests.support.runs import finished_run

RUN = finished_run(rounds=3, count=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in a file."""
    path = tmp_path_factory.mktemp("export") / "run.mainstem"
    export(*RUN, path)
    return path


def states(path: Path) -> list[str]:
    """What `verify --file` says of each version."""
    with RunFile(path) as run:
        return [proof.state for proof in run.proofs()]


def rewritten(path: Path, target: Path, **changes: Any) -> Path:
    """The archive with entries replaced (None: left out) or added, `_manifest` being a change of the manifest."""
    edit = changes.pop("_manifest", None)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as sink:
        entries = {name: source.read(name) for name in source.namelist()} | changes
        if edit is not None:
            manifest = msgspec.json.decode(entries[MANIFEST])
            edit(manifest)
            entries[MANIFEST] = msgspec.json.encode(manifest)
        for name, content in entries.items():
            if content is not None:
                sink.writestr(name, content)
    return target


def test_a_run_is_proved_from_its_file(exported: Path) -> None:
    """Every version, without the log; replay and recall work on it as well."""
    assert states(exported) == ["proved"] * 4
    with RunFile(exported) as run:
        assert [each.same for each in replay(run, run.federation)] == [True] * 3
        assert [d.version for d in recall(run, run.federation, client="c0", round=2)] == [2, 3]


def test_exports_repeat_exactly(exported: Path, tmp_path: Path) -> None:
    """The same log gives the same bytes; what exists is not overwritten."""
    first = export(*RUN, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == exported.read_bytes() and first.incomplete == ()
    assert first.nbytes == exported.stat().st_size and first.versions == 4
    with pytest.raises(ConfigError, match="exists already"):
        export(*RUN, tmp_path / "again")
    with pytest.raises(ConfigError, match="cannot be written"):
        export(*RUN, tmp_path / "no" / "such" / "place")
    assert list(tmp_path.iterdir()) == [tmp_path / "again"]
    with RunFile(exported) as run:
        assert run.manifest_sha256 == first.sha256


def test_only_what_versions_name_is_exported(tmp_path: Path) -> None:
    """Heartbeats, ticks and chunks of updates that never were stay behind."""
    log, federation = finished_run(rounds=1)
    log.append(aggregator_topic(federation), [Outgoing(b"x" * 100_000)])
    before = log.bounds(aggregator_topic(federation), 0)[1]
    done = export(log, federation, tmp_path / "run")
    assert done.nbytes < 100_000
    with RunFile(tmp_path / "run") as run:
        assert run.bounds(aggregator_topic(federation), 0) == (0, before)
        offsets = [r.offset for r in run.read(aggregator_topic(federation), 0, 0, before)]
        assert {a.offset for r in rounds_of(log, federation) for a in r.accepted} <= set(offsets)


def test_pruned_updates_are_gone_in_the_file_too(tmp_path: Path) -> None:
    """A version whose updates were pruned says so; the others are proved."""
    log, federation = finished_run(rounds=3)
    log.delete_records(aggregator_topic(federation), 0, min(a.offset for a in rounds_of(log, federation)[1].accepted))
    done = export(log, federation, tmp_path / "run")
    assert done.incomplete == (1,)
    assert (
        states(tmp_path / "run") == [p.state for p in verify(log, federation)] == ["proved", "gone", "proved", "proved"]
    )


def test_it_can_only_be_read(exported: Path) -> None:
    """Nothing is appended or removed; what it does not hold is named."""
    with RunFile(exported) as run:
        topic = control_topic(run.federation)
        for writing in (
            lambda: run.append(topic, []),
            lambda: run.create_topics([]),
            lambda: run.delete_topics([]),
            lambda: run.delete_records(topic, 0, 1),
        ):
            with pytest.raises(LogError, match="can only be read"):
                writing()
        with pytest.raises(LogError, match="holds no partition 1"):
            run.bounds(topic, 1)
        with pytest.raises(LogError, match="ends at offset"):
            run.read(topic, 0, 0, 10_000)


def test_begin_is_respected(exported: Path, tmp_path: Path) -> None:
    """Offsets before the log's own beginning are gone, not missing."""
    log, federation = finished_run(rounds=2)
    log.delete_records(aggregator_topic(federation), 0, 4)
    export(log, federation, tmp_path / "run")
    with RunFile(tmp_path / "run") as run, pytest.raises(UnreadableError, match="0 is gone"):
        run.read(aggregator_topic(federation), 0, 0, 5)


def test_a_hostile_manifest_is_refused(exported: Path, tmp_path: Path) -> None:
    """Wrong formats, topics, bounds, sizes, hashes and names: each with our error."""

    def of(part: int, **changes: Any) -> Any:
        return lambda manifest: manifest["parts"][part].update(changes)

    edits = {
        "format": lambda m: m.update(format="other"),
        "schema": lambda m: m.update(schema=2),
        "federation": lambda m: m.update(federation="../../et"),
        "another": lambda m: m.update(federation="zzzzzzzz"),
        "huge": lambda m: m.update(head="x" * 10, versions=[{"version": -1, "sha256": "", "complete": True}]),
        "topic": of(0, topic="FED-zzzzzzzz-model_control_topic"),
        "partition": of(0, partition=1),
        "begin": of(0, begin=5),
        "end": of(0, end=1),
        "negative": of(0, begin=-1),
        "records": of(0, records=1),
        "nbytes": of(1, nbytes=1),
        "sha256": of(2, sha256="0" * 64),
        "entry": of(0, entry="records/none"),
        "twice": of(1, entry="records/control-0"),
        "missing": lambda m: m["parts"].pop(),
    }
    for name, edit in edits.items():
        with pytest.raises(DecodeError):
            RunFile(rewritten(exported, tmp_path / name, _manifest=edit))


def test_a_manifest_that_states_other_versions_is_found(exported: Path, tmp_path: Path) -> None:
    """The records are consistent, but not what the manifest says of them."""

    def other(manifest: dict[str, Any]) -> None:
        manifest["versions"][1]["sha256"] = "0" * 64
        manifest["versions"].append({"version": 9, "sha256": "1" * 64, "complete": True})
        manifest["head"] = "2" * 64

    with RunFile(rewritten(exported, tmp_path / "other", _manifest=other)) as run:
        found = [(p.version, p.state) for p in run.proofs()]
    assert found[:2] == [(0, "proved"), (1, "differs")] and (9, "differs") in found and found[-1] == (None, "differs")


def test_what_is_no_archive_of_ours_is_refused(exported: Path, tmp_path: Path) -> None:
    """No zip, an empty one, a foreign entry, a missing manifest, a compressed entry, a bomb."""
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as sink:
        sink.writestr(MANIFEST, b"{" + b" " * (200 << 20))
    bad = [
        (tmp_path / "text", "is no exported run"),
        (tmp_path / "empty", "is no exported run"),
        (tmp_path / "absent", "cannot be read"),
        (tmp_path, "cannot be read"),
        (rewritten(exported, tmp_path / "foreign", other=b"x"), "does not name the file's entries"),
        (rewritten(exported, tmp_path / "bare", **{MANIFEST: None}), "has no manifest.json"),
        (rewritten(exported, tmp_path / "words", **{MANIFEST: b"[" * 100_000}), "is not readable"),
        (bomb, "is compressed or encrypted"),
    ]
    tracemalloc.start()
    for path, sentence in bad:
        with pytest.raises(DecodeError, match=sentence):
            RunFile(path)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_frames_that_lie_about_their_length_are_refused(exported: Path, tmp_path: Path) -> None:
    """Lengths beyond the entry, negative ones, offsets that go back: refused though the hashes were made to fit."""
    with zipfile.ZipFile(exported) as source:
        original = source.read("records/data-0")
    for offset, headers, key, value in ((0, 10, -1, 1 << 30), (0, 1 << 31, -1, 0), (0, 0, -5, 0), (1 << 63, 0, -1, -1)):
        forged = struct.pack("<QqIii", offset, 0, headers, key, value) + original
        refused(exported, tmp_path, forged)
    refused(exported, tmp_path, original + original)
    refused(exported, tmp_path, original[:-1])


def refused(exported: Path, tmp_path: Path, forged: bytes) -> None:
    """The entry of the data topic with these bytes, named by a manifest that fits them."""

    def fit(manifest: dict[str, Any]) -> None:
        manifest["parts"][1] |= {"nbytes": len(forged), "sha256": hashlib.sha256(forged).hexdigest()}

    with pytest.raises(DecodeError):
        RunFile(rewritten(exported, tmp_path / "forged", _manifest=fit, **{"records/data-0": forged}))


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_never_believed(exported: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed, cut or inserted anywhere: our error, or some version differs; nothing else is ever raised."""
    content = bytearray(exported.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(("flip", "cut", "insert"))):
        case "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del content[place : place + data.draw(st.integers(1, 64))]
        case _:
            content[place:place] = data.draw(st.binary(min_size=1, max_size=64))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    try:
        with RunFile(damaged) as run:
            found, manifest = [proof.state for proof in run.proofs()], run.manifest
    except MainstemError:
        return
    with RunFile(exported) as run:  # what survived is the same run: the change hit nothing but zip's own notes
        assert found == ["proved"] * 4 or "differs" in found
        assert "differs" in found or _essence(manifest) == _essence(run.manifest)


def _essence(manifest: RunManifest) -> Any:
    return [(part.topic, part.sha256) for part in manifest.parts], manifest.head, manifest.federation


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_a_device_or_a_directory_is_no_run(path: str) -> None:
    """A device may have no end: nothing of it is read."""
    with pytest.raises(DecodeError, match="it is no regular file"):
        RunFile(Path(path))
