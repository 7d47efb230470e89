"""Readers of users' files and the digits' division among clients: what they give, and what they refuse."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_digits

from inject_scripts import digits
from inject_scripts.announcement import control_message, deployment_key, range_text
from inject_scripts.injection import input_config
from inject_scripts.readers import Reading, cifar10_source, csv_source, idx_source, npz_source
from inject_scripts.readers.text import MAX_LINE
from inject_scripts.samples import prepare
from mainstem.errors import ConfigError, DecodeError, LogError
from mainstem.streams.announcement import StreamRange
from mainstem.streams.codecs import codec_for


def idx(array: np.ndarray[Any, Any], kind: int = 0x08) -> bytes:
    """`array` as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
LABELS = np.array([0, 9, 4], np.uint8)


# ------------------------------------------------------------ digits
def test_digits_are_enlarged_within_their_range() -> None:
    """28x28 float32 in 0..1, flat; a constant image stays constant and a corner keeps its value."""
    x, y = digits.load()
    assert (x.shape, y.shape) == ((1797, 784), (1797,)) and x.dtype == np.dtype(np.float32)
    assert x.min() == 0 and x.max() == 1 and set(y.tolist()) == set(range(10))
    assert np.array_equal(digits.enlarge(np.full((1, 8, 8), 0.5)), np.full((1, 784), 0.5, np.float32))
    ramp = np.tile(np.arange(8) / 7, (1, 8, 1))
    wide = digits.enlarge(ramp).reshape(28, 28)
    assert wide[5, 0] == 0 and wide[5, -1] == 1 and (np.diff(wide[5]) >= 0).all()
    assert np.array_equal(digits.enlarge(ramp.transpose(0, 2, 1)).reshape(28, 28), wide.T)


def test_digits_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file that the images carry, read without scikit-learn, has what its own function gives."""
    bunch: Any = load_digits()
    x, y = digits.load()
    assert np.array_equal(x, digits.enlarge(bunch.images / 16.0)) and np.array_equal(y, bunch.target)
    package = Path(sklearn.__file__).parent / "datasets" / "data" / digits.FILE
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    monkeypatch.setattr(digits, "__file__", str(tmp_path / "digits.py"))
    with pytest.raises(ConfigError, match="scikit-learn has the digits"):
        digits.load()
    (tmp_path / digits.FILE).write_bytes(package.read_bytes())
    assert np.array_equal(digits.load()[0], x)


@pytest.mark.parametrize("alpha", [None, 0.3, 1e-3])
def test_shards_are_disjoint_and_the_same_for_a_seed(alpha: float | None) -> None:
    """Each digit goes to one client; a seed gives the same samples, another seed others."""
    shards = digits.shards(3, 500, 50, alpha=alpha, seed=7)
    again = digits.shards(3, 500, 50, alpha=alpha, seed=7)
    other = digits.shards(3, 500, 50, alpha=alpha, seed=8)
    assert [len(s.y) for s in shards] == [550] * 3 and all(s.test == 50 for s in shards)
    for a, b, c in zip(shards, again, other, strict=True):
        assert a.x.tobytes() == b.x.tobytes() and a.y.tobytes() == b.y.tobytes()
        assert a.x.tobytes() != c.x.tobytes()
    everything = np.concatenate([s.x for s in shards])
    whole = {row.tobytes() for row in digits.load()[0]}
    seen = {row.tobytes() for row in everything}
    assert seen <= whole and len(seen) >= len(everything) - (1797 - len(whole))


def test_a_small_alpha_skews_labels() -> None:
    """IID clients have all classes; with a small alpha three classes make most of a client."""
    iid = digits.shards(3, 500, 50, alpha=None, seed=1)
    skewed = digits.shards(3, 500, 50, alpha=0.05, seed=1)

    def top(y: np.ndarray[Any, Any]) -> float:
        return float(np.sort(np.bincount(y, minlength=10))[-4:].sum() / len(y))

    assert max(top(s.y) for s in iid) < 0.6 < min(top(s.y) for s in skewed[:2])


def test_the_set_is_split_evenly_when_it_is_too_small() -> None:
    """Up to three clients get 500 + 50; more share the 1,797 digits in the same proportion."""
    assert digits.shard_sizes(3, 500, 50) == (500, 50, False)
    assert digits.shard_sizes(4, 500, 50) == (408, 41, True)
    train, test, even = digits.shard_sizes(50, 500, 50)
    assert even and train + test == 1797 // 50 and test == 3
    assert digits.shard_sizes(10, 500, 0) == (179, 0, True)
    with pytest.raises(ConfigError, match="too many"):
        digits.shard_sizes(1000, 500, 50)


# ------------------------------------------------------------ the announcement
def test_keys_are_big_endian_of_the_width_needed() -> None:
    """Kafka-ML writes one byte; larger deployments take more, federations are text."""
    assert [deployment_key(n) for n in (0, 1, 255, 256, 1 << 40)] == [
        b"\0",
        b"\1",
        b"\xff",
        b"\1\0",
        b"\1\0\0\0\0\0",
    ]
    assert deployment_key("ddy6heod") == b"ddy6heod" and deployment_key(None) is None
    assert deployment_key("1") == b"\1" and deployment_key("300") == b"\1\x2c"
    for wrong in (-1, "hospital-7", "", "9" * 5000):
        with pytest.raises(ConfigError, match="deployment_id"):
            deployment_key(wrong)


def test_a_stream_in_too_many_pieces_is_refused() -> None:
    """The ranges must fit into a control record."""
    with pytest.raises(LogError, match="pieces"):
        range_text(StreamRange("topic", 0, i * 2, i * 2 + 1) for i in range(50_000))


def test_announcements_that_mainstem_refuses_are_not_written() -> None:
    """The writer checks with the reader's rules, and refuses what JSON cannot hold."""
    good: dict[str, Any] = {
        "topic": "t:0:0:5",
        "unsupervised_topic": None,
        "input_format": "RAW",
        "description": "",
        "dataset_restrictions": {},
        "input_config": {},
        "validation_rate": 0.1,
        "test_rate": 0.1,
        "total_msg": 5,
        "incremental": False,
    }
    assert control_message(**good).startswith(b'{"topic": "t:0:0:5", "unsupervised_topic": null')
    for change in ({"validation_rate": 1.5}, {"topic": "t:0:5:0"}, {"total_msg": -1}, {"input_config": {"a": b""}}):
        with pytest.raises(ConfigError):
            control_message(**{**good, **change})


@pytest.mark.parametrize("fmt", ["RAW", "AVRO", "JSON"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64", "bool", "uint32"])
def test_input_config_round_trips_in_every_format(fmt: str, dtype: str) -> None:
    """The INPUT_CONFIG that a script announces decodes what its codec wrote, exactly."""
    kind = np.dtype(dtype)
    x = (np.arange(6).reshape(2, 3) % 2).astype(kind)
    codec = codec_for(fmt, input_config(fmt, (2, 3), kind, (), np.dtype(np.int64)))
    key, value = codec.encode(x, 7)
    decoded, label = codec.decode(key, value)
    assert decoded.dtype == kind and np.array_equal(decoded, x) and label == 7
    unlabelled = codec_for(fmt, input_config(fmt, (2, 3), kind, None, None))
    assert unlabelled.y_shape is None


def test_avro_has_no_unsigned_64_bits() -> None:
    """uint64 does not fit an Avro long."""
    with pytest.raises(ConfigError, match="AVRO"):
        input_config("AVRO", (1,), np.dtype(np.uint64), None, None)


# ------------------------------------------------------------ IDX
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_images_find_their_labels(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """MNIST's names, packed or not: one-hot labels, images scaled and reshaped."""
    (tmp_path / "train-images-idx3-ubyte").write_bytes(pack(idx(IMAGES)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(pack(idx(LABELS)))
    source = idx_source(tmp_path / "train-images-idx3-ubyte", None)
    samples = prepare(source, normalize=True, reshape="4", dtype=np.dtype(np.float32), limit=2)
    assert (samples.count, samples.x_shape, samples.y_shape) == (2, (4,), (10,))
    (_, y0), (x1, y1) = samples.iterate()
    assert np.allclose(x1, np.arange(4, 8) / 255) and np.argmax(y0) == 0 and np.argmax(y1) == 9
    assert len(list(samples.iterate())) == 2


def test_idx_big_endian_values(tmp_path: Path) -> None:
    """Values of more than one byte are big-endian in the file."""
    (tmp_path / "i").write_bytes(idx(np.array([[1, -2]], ">i2"), 0x0B))
    (tmp_path / "l").write_bytes(idx(LABELS[:1]))
    ((x, _),) = list(idx_source(tmp_path / "i", tmp_path / "l").rows())
    assert x.tolist() == [1, -2] and x.dtype == np.int16


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (b"", idx(LABELS), "truncated"),
        (b"\x1f\x8bnonsense", idx(LABELS), "damaged|truncated"),
        (b"\0\0\x08", idx(LABELS), "truncated"),
        (b"PK\3\4" + b"\0" * 20, idx(LABELS), "magic number is 0x504b0304"),
        (idx(IMAGES)[:-1], idx(LABELS), "row 3 of 3"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-12], idx(LABELS), "damaged|truncated"),
        (idx(IMAGES) + b"\0", idx(LABELS), "after its last row"),
        (idx(IMAGES), idx(LABELS[:2]), "2 labels, but images has 3"),
        (idx(IMAGES), idx(IMAGES), "no labels"),
        (struct.pack(">HBB3I", 0, 8, 3, 3, 0, 2), idx(LABELS), "size 0"),
        (struct.pack(">HBB3I", 0, 8, 3, 3, 1 << 31, 1 << 31), idx(LABELS), "at most"),
        (struct.pack(">HBB3I", 0, 8, 3, (1 << 32) - 1, 2, 2), idx(LABELS), "3 labels"),
    ],
)
def test_malformed_idx_files_are_refused(tmp_path: Path, images: bytes, labels: bytes, told: str) -> None:
    """Truncated, damaged, foreign and contradicting files are one sentence."""
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises((ConfigError, DecodeError), match=told):
        list(idx_source(tmp_path / "images", tmp_path / "labels").rows())


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A file that is not there, and labels that cannot be guessed."""
    with pytest.raises(ConfigError, match="No such file"):
        idx_source(tmp_path / "x", tmp_path / "y")
    with pytest.raises(ConfigError, match="--labels"):
        idx_source(tmp_path / "images.idx", None)
    readers: list[Callable[[Path], object]] = [
        lambda p: npz_source(p, None, None, labelled=True),
        csv_source,
        lambda p: cifar10_source([p]),
    ]
    for reader in readers:
        with pytest.raises(ConfigError, match="No such file"):
            reader(tmp_path / "absent")


def test_labels_above_the_classes_are_named(tmp_path: Path) -> None:
    """EMNIST's letters need --classes: the row and the range are in the message."""
    (tmp_path / "i").write_bytes(idx(IMAGES))
    (tmp_path / "l").write_bytes(idx(np.array([1, 26, 3], np.uint8)))
    source = idx_source(tmp_path / "i", tmp_path / "l")
    with pytest.raises(DecodeError, match=r"row 2, has the label 26; with 10 classes it must be 0\.\.9"):
        list(prepare(source).iterate())
    assert [int(np.argmax(y)) for _, y in prepare(source, classes=27).iterate()] == [1, 26, 3]


# ------------------------------------------------------------ CIFAR-10
def test_cifar_batches_follow_each_other_channels_last(tmp_path: Path) -> None:
    """Two batches, planes turned into (32, 32, 3)."""
    planes = np.arange(3 * 32 * 32, dtype=np.uint32).astype(np.uint8)
    for number in range(2):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) + planes.tobytes())
    source = cifar10_source([tmp_path / "0.bin", tmp_path / "1.bin"])
    rows = list(source.rows())
    assert source.count == 2 and [int(y) for _, y in rows] == [0, 1]
    assert np.array_equal(rows[0][0], planes.reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "multiple"), (b"\0" * 3072, "multiple"), (b"\0" * 3074, "multiple"), (b"\x0a" + b"\0" * 3072, "label 10")],
)
def test_malformed_cifar_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """Wrong sizes (also CIFAR-100's) and labels above 9."""
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DecodeError, match=told):
        list(cifar10_source([tmp_path / "x.bin"]).rows())


# ------------------------------------------------------------ npz
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read_row_by_row(tmp_path: Path, save: Any) -> None:
    """Usual names or named ones, packed or not, any byte order."""
    x, y = np.arange(12.0).reshape(3, 4).astype(">f8"), np.array([[0, 1], [1, 0], [0.5, 0.5]])
    save(tmp_path / "d.npz", x_train=x, y_train=y, other=np.zeros(3))
    source = npz_source(tmp_path / "d.npz", None, None, labelled=True)
    rows = list(source.rows())
    assert (source.count, source.x_shape, source.y_shape) == (3, (4,), (2,))
    assert np.array_equal([r[0] for r in rows], x) and np.array_equal([r[1] for r in rows], y)
    assert source.x_dtype.isnative
    assert len(list(npz_source(tmp_path / "d.npz", "other", None, labelled=False).rows())) == 3
    soft = list(prepare(source, classes=2).iterate())
    assert np.array_equal(soft[2][1], [0.5, 0.5])


def npz(**members: bytes) -> bytes:
    """A zip of raw members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """`array` as .npy, pickled when it holds objects."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


X, Y = npy(np.zeros((3, 2))), npy(np.zeros(3))
HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }"


def header(shape: str) -> bytes:
    """A .npy file of a claimed shape without data."""
    text = (HEADER % shape).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no zip", "no .npz file"),
        (npz(x=X), "label-key|name one"),
        (npz(x=X, y=npy(np.zeros(2))), "3 rows of data, but 2 labels"),
        (npz(x=npy(np.array([{}, []], object)), y=Y), "holds Python objects.*no pickle is ever opened"),
        (npz(x=npy(np.array(["a"] * 3)), y=Y), "holds text"),
        (npz(x=npy(np.zeros(3, "M8[s]")), y=Y), "not numbers"),
        (npz(x=npy(np.zeros(3, "i4,f4")), y=Y), "structured_to_unstructured"),
        (npz(x=npy(np.asfortranarray(np.zeros((3, 2))))[:-1], y=Y), "truncated: 1 bytes"),
        (npz(x=npy(np.asfortranarray(np.zeros((3, 2)))) + b"\0", y=Y), "after its last row"),
        (npz(x=npy(np.array(3.0)), y=Y), "single value"),
        (npz(x=X[:-1], y=Y), "truncated"),
        (npz(x=X + b"\0", y=Y), "after its last row"),
        (npz(x=b"\x93NUMPY\1\0", y=Y), "damaged"),
        (npz(x=b"", y=Y), "damaged"),
        (npz(x=header("3, -1"), y=Y), "no size"),
        (npz(x=header("3, 99999999999"), y=Y), "at most"),
        (npz(x=header("3, __import__('os')"), y=Y), "damaged"),
        (npz(x=X, y=Y)[:-60], "no .npz|damaged"),
        (npz(x=X, y=Y).replace(b"\0" * 40, b"\1" * 40, 1), "damaged|no .npz"),
    ],
)
def test_malformed_npz_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """Nothing is unpickled, evaluated or allocated by a claim; each is one sentence."""
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises((ConfigError, DecodeError), match=told):
        list(npz_source(tmp_path / "d.npz", None, None, labelled=True).rows())


# ------------------------------------------------------------ CSV
def rows_of(tmp_path: Path, text: str | bytes, label: str | None = None, **options: Any) -> list[Any]:
    """The rows of a CSV file with this text."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(csv_source(path, Reading(label=label, **options)).rows())


def test_csv_with_and_without_a_header(tmp_path: Path) -> None:
    """A label by name, by number, from the end, or the last; blank lines and a byte order mark are skipped."""
    text = "\ufeffage,sick,weight\r\n\r\n40,1,70.5\r\n50,0,80\r\n"
    (x0, y0), (_, y1) = rows_of(tmp_path, text, "sick")
    assert x0.tolist() == [40, 70.5] and (y0, y1) == (1, 0) and x0.dtype == np.float32
    for label in ("1", "-2"):
        assert rows_of(tmp_path, "40,1,70.5\n50,0,80\n", label)[0][1] == 1
    assert rows_of(tmp_path, "40;1;7\n", None, delimiter=";")[0][1] == 7
    assert rows_of(tmp_path, "1,2\n3,4\n", labelled=False)[1][0].tolist() == [3, 4]
    assert rows_of(tmp_path, gzip.compress(b"1,2\n", mtime=0))[0][1] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("a,b\n1,2\n3,x\n", r"line 3, column 'b', is 'x'"),
        ("a,b\n1,2\n,4\n", r"line 3, column 'a', is empty"),
        ("a,b\n1,2\n1,nan\n", "finite"),
        ("a,b\n1,inf\n", "finite"),
        ("a,b\n1,2\n1,2,3\n", "line 3, has 3 cells; others have 2"),
        ("a,b\n1,2\n1\n", "has 1 cells"),
        (b"a,b\n1,\xff\n", "UTF-8"),
        ('a,b\n"1,2\n', "no CSV"),
        (b"a,b\n1,\0\n", "line 2, holds a zero byte"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "is damaged after line 2"),
        ("a,b\n" + "1" * (MAX_LINE + 1) + "\n", "characters"),
    ],
)
def test_malformed_csv_files_are_refused(tmp_path: Path, text: str | bytes, told: str) -> None:
    """Text cells name their line and column; ragged, cut and foreign files are refused."""
    with pytest.raises(DecodeError, match=told):
        rows_of(tmp_path, text)


def test_csv_label_columns_must_exist(tmp_path: Path) -> None:
    """The message lists the columns."""
    with pytest.raises(ConfigError, match="it has a, b"):
        rows_of(tmp_path, "a,b\n1,2\n", "c")
    with pytest.raises(ConfigError, match="0 to 1"):
        rows_of(tmp_path, "1,2\n", "2")
    with pytest.raises(ConfigError, match="no column beside its label; its first line has ';': say --delimiter ';'"):
        rows_of(tmp_path, "a;b\n1;2\n", delimiter=",")


def test_features_are_scaled_by_their_extremes(tmp_path: Path) -> None:
    """--normalize on a table: each feature to 0..1 over the rows used, a constant one to 0."""
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n10,5,0\n20,5,1\n99,5,1\n")
    samples = prepare(csv_source(path), normalize=True, limit=2, classes=2)
    (x0, y0), (x1, _) = samples.iterate()
    assert x0.tolist() == [0, 0] and x1.tolist() == [1, 0] and y0.tolist() == [1, 0]


def test_options_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    """Shapes that do not fit, classes that cannot be, integers that should become fractions."""
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2, 2)), y=np.zeros((3, 4)))
    source = npz_source(tmp_path / "d.npz", None, None, labelled=True)
    for options, told in (
        ({"reshape": "5"}, "--data-reshape"),
        ({"classes": 3}, "one-hot of 3"),
        ({"normalize": True, "dtype": np.dtype("u1")}, "--dtype"),
    ):
        with pytest.raises(ConfigError, match=told):
            prepare(source, **options)
    assert math.prod(prepare(source, reshape="4").x_shape) == 4
