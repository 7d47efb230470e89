"""Files are taken as they are: columns and numbers that are certain, classes that are said, or a question."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inject_scripts import inject_files
from inject_scripts.class_counts import take
from inject_scripts.readers import Making, Reading, csv_source, idx_source, npz_source
from inject_scripts.samples import prepare
from mainstem.errors import ConfigError, DecodeError


def csv(tmp_path: Path, text: str, label: str | None = None, **options: Any) -> Any:
    """The source of a CSV file with this text."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    making = Making(dtype=options.pop("dtype", np.dtype("f4")))
    return csv_source(path, Reading(label=label, **options), making)


def rows(source: Any) -> list[tuple[list[float], float]]:
    """Its rows as plain numbers."""
    return [(x.tolist(), y) for x, y in source.rows()]


# ------------------------------------------------------------ the header
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("NA,3.1,1\n1,2,0\n", "line 1 has words and numbers"),
        ("a,3,1\n1,2,0\n", r"--header yes or --header no \(line 1: a, 3, 1\)"),
        ("a,,b\n1,2,0\n", "line 1 has words and numbers"),
        ("0,1,2\n5.5,2,0\n7,1,1\n", "line 1 counts"),
        ("2019,2020,2021\n1.5,2,0\n", "line 1 counts"),
        (",0,1,2\n0,5.5,2,1\n", "line 1 has words and numbers"),
    ],
)
def test_a_first_line_that_may_be_either_is_asked_for(tmp_path: Path, text: str, told: str) -> None:
    """A row with a bad cell, numbers that count, pandas' numbered columns: none is swallowed, none is a sample."""
    with pytest.raises(ConfigError, match=told):
        csv(tmp_path, text)
    body = text.split("\n", 1)[1]
    assert len(rows(csv(tmp_path, text, header=True, drop=["none"]))) == body.count("\n")
    if text[0] in "02":
        assert len(rows(csv(tmp_path, text, header=False, drop=["none"]))) == text.count("\n")
    else:
        with pytest.raises(DecodeError, match="line 1, column"):
            rows(csv(tmp_path, text, header=False))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a,b,y\n1,2,0\n", [1, 2]),
        ("1,2,0\n3,4,1\n", [1, 2]),
        ("1,2\n3,4\n", [1]),
        ("7,8,9\n10,11,12\n", [7, 8]),
        ("-1.5e3,.5,0\n3,4,1\n", [-1500, 0.5]),
    ],
)
def test_a_certain_first_line_needs_no_answer(tmp_path: Path, text: str, first: list[float]) -> None:
    """Words alone are a header; numbers that do not count alone are a row."""
    assert rows(csv(tmp_path, text))[0][0] == first


# ------------------------------------------------------------ columns
@pytest.mark.parametrize(
    "text",
    [
        ",a,y\n4,5,1\n1,6,0\n",
        "Unnamed: 0,a,y\n7,5,1\n3,6,0\n",
        "id,a,y\n1,5,1\n2,6,0\n3,6,0\n",
        "0,5.5,1\n1,6,0\n2,7,0\n",
    ],
)
def test_an_index_is_no_feature_unless_it_is_said(tmp_path: Path, text: str) -> None:
    """Pandas' index column is asked for; --drop leaves it out or keeps it."""
    with pytest.raises(ConfigError, match="--drop number:0, or keep it as data with --drop none"):
        csv(tmp_path, text)
    assert csv(tmp_path, text, drop=["number:0"]).x_shape == (1,)
    assert csv(tmp_path, text, drop=["none"]).x_shape == (2,)


def test_names_and_numbers_of_columns_are_not_confused(tmp_path: Path) -> None:
    """A column named 0 at another place, two of one name, a label that is not the last."""
    numbered = "1,0,y\n5,6,1\n7,8,0\n"
    with pytest.raises(
        ConfigError, match="is the name of column number 1 and the number of column '1'; write name:0 or"
    ):
        csv(tmp_path, numbered, "0", header=True)
    assert [y for _, y in rows(csv(tmp_path, numbered, "name:0", header=True))] == [6, 8]
    assert [y for _, y in rows(csv(tmp_path, numbered, "number:0", header=True))] == [5, 7]
    twice = "a,b,a,y\n1,2,3,0\n4,5,6,1\n"
    with pytest.raises(ConfigError, match=r"has 2 columns 'a'; name one by its place .*: number:0 and number:2"):
        csv(tmp_path, twice, "a")
    assert rows(csv(tmp_path, twice, "number:2"))[0] == ([1, 2, 0], 3)
    with pytest.raises(ConfigError, match="has a column 'label', but its last one is 'weight'"):
        csv(tmp_path, "age,label,weight\n40,1,70.5\n")
    with pytest.raises(ConfigError, match="which is the label"):
        csv(tmp_path, "a,y\n5,1\n", drop=["y"])


# ------------------------------------------------------------ numbers
@pytest.mark.parametrize(
    ("cell", "dtype", "seen"),
    [
        ("16777217", "f8", 16777217),
        ("16777217", "i8", 16777217),
        ("9007199254740993", "i8", 9007199254740993),
        ("16777216", "f4", 16777216),
        ("0.1", "f4", float(np.float32(0.1))),
        ("16777217", "f4", "is 16777217, which float32 cannot hold exactly (it would become 16777216)"),
        ("9007199254740993", "f8", "is 9007199254740993, which float64 cannot hold exactly"),
        ("1.5", "i8", "is 1.5, which has a fraction, but its type is int64"),
        ("300", "u1", "is 300, which is outside 0..255"),
        ("123456789012345678901", "f8", "has more than 64 bits"),
        ("1_000", "f4", "every cell must be a number"),
        ("1,5", "f4", "every cell must be a number"),
    ],
)
def test_cells_are_kept_or_refused_by_name(tmp_path: Path, cell: str, dtype: str, seen: float | str) -> None:
    """Whole numbers go through no float32, whatever --dtype says."""
    source = csv(tmp_path, f'id,v,y\n7,5,0\n"{cell}",6,1\n', dtype=np.dtype(dtype))
    if isinstance(seen, str):
        with pytest.raises(DecodeError) as caught:
            rows(source)
        assert seen in str(caught.value) and "t.csv, line 3, column 'id'" in str(caught.value)
    else:
        assert rows(source)[1][0][0] == seen


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_arrays_are_cast_exactly_or_refused_by_row(tmp_path: Path, kind: str) -> None:
    """Integers of a file that float32 does not hold name their row."""
    values = np.array([[1, 2], [3, (1 << 24) + 1]], np.int32)
    if kind == "npz":
        np.savez(tmp_path / "f", x=values.astype(np.int64), y=[0, 1])
        source = npz_source(tmp_path / "f.npz", None, None, labelled=True)
    else:
        (tmp_path / "i").write_bytes(struct.pack(">4B2I", 0, 0, 0x0C, 2, 2, 2) + values.astype(">i4").tobytes())
        (tmp_path / "l").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 2) + b"\0\1")
        source = idx_source(tmp_path / "i", tmp_path / "l")
    with pytest.raises(DecodeError, match="row 2: the data is 16777217 at position 1, which float32 cannot"):
        list(prepare(source, dtype=np.dtype("f4")).iterate())
    assert [x.tolist() for x, _ in prepare(source, dtype=np.dtype("f8")).iterate()] == values.tolist()


def test_of_several_usual_arrays_one_must_be_named(tmp_path: Path) -> None:
    """Which are the data is not guessed."""
    np.savez(tmp_path / "f", x=np.zeros((3, 2)), images=np.zeros((3, 2)), y=np.zeros(3))
    with pytest.raises(ConfigError, match="has the arrays x and images; name one with --data-key"):
        npz_source(tmp_path / "f.npz", None, None, labelled=True)
    assert npz_source(tmp_path / "f.npz", "x", None, labelled=True).count == 3


# ------------------------------------------------------------ what was taken
def taken(tmp_path: Path, labels: Sequence[float], test_rate: float = 0.0, **options: Any) -> Any:
    """What is said of a table with these labels."""
    source = csv(tmp_path, "".join(["a,b,kind\n", *(f"{n * 3 % 7},1.5,{label:g}\n" for n, label in enumerate(labels))]))
    return take(source, prepare(source, **options), test_rate)


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    """Columns, label, classes with their counts, and those of the test part."""
    found = taken(tmp_path, [0, 1, 2, 1] * 5, 0.2)
    assert found.lines() == [
        "t.csv: 20 rows",
        "  data: 2 columns (a, b), below a header",
        "  label: column 'kind' (number 2, the last): 3 classes: 0 (5), 1 (10), 2 (5)",
        "  test part, the last rows: 0 (1), 1 (2), 2 (1)",
    ]
    assert found.as_json()["classes"] == {"0": 5, "1": 10, "2": 5}
    assert "labels begin at 1" in "\n".join(taken(tmp_path, [1, 2, 3]).lines())
    assert "numbers from 0.5 to 2.5" in "\n".join(taken(tmp_path, [0.5, 1.5, 2.5], 0.5).lines())


def test_a_sorted_file_has_no_test_part(tmp_path: Path) -> None:
    """Classes that only the order keeps from the test part are named; chance is not."""
    with pytest.raises(
        ConfigError, match=r"is sorted: its last 30 rows, the test part, have the classes 2 \(30\) and none"
    ):
        taken(tmp_path, [0] * 50 + [1] * 50 + [2] * 50, 0.2)
    assert taken(tmp_path, [0] * 50 + [1] * 50 + [2] * 50).test_classes == {}
    assert taken(tmp_path, [0, 1, 2] * 10 + [0], 1 / 31).test_classes == {"0": 1}
    assert taken(tmp_path, [0] * 99 + [1] + [0] * 100, 0.25).test_classes == {"0": 50}


def test_labels_from_1_to_k_are_subtracted_when_it_is_said(tmp_path: Path) -> None:
    """The sentence names the option, and the option does it: for one-hot labels and for indices."""
    with pytest.raises(
        ConfigError, match="labels run from 1 to 3, but 3 classes are 0 to 2; subtract 1 with --label-sub"
    ):
        taken(tmp_path, [1, 2, 3] * 5, classes=3)
    assert taken(tmp_path, [1, 2, 3] * 5, classes=3, subtract=1).classes == {"0": 5, "1": 5, "2": 5}
    with pytest.raises(DecodeError, match=r"row 2, has the label 7; with 3 classes it must be 0\.\.2"):
        taken(tmp_path, [0, 7, 1], classes=3)
    np.savez(tmp_path / "f", x=np.zeros((3, 2)), y=np.array([1, 2, 3], np.uint8))
    samples = prepare(npz_source(tmp_path / "f.npz", None, None, labelled=True), subtract=1)
    assert [int(y) for _, y in samples.iterate()] == [0, 1, 2] and samples.y_dtype == np.int64


def test_a_file_of_no_known_kind_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the name nor the first bytes decide."""
    (tmp_path / "data.table").write_text("1\t2\n")
    assert inject_files.main([str(tmp_path / "data.table")]) == 1
    assert (
        "neither its name nor its first bytes say what it is; say --kind npz|csv|idx|cifar10" in capsys.readouterr().err
    )
