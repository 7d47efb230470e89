"""Files as people have them: what they need said, what is recognised, and what the sentence says of the rest."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn

from inject_scripts import inject_files
from inject_scripts.readers.words import parse_words
from mainstem.errors import ConfigError

SHIPPED = Path(sklearn.__file__).parent / "datasets" / "data"

PENGUINS = """species,island,bill_mm,mass_g,sex
Adelie,Torgersen,39.1,3750,male
Adelie,Torgersen,NA,NA,NA
Gentoo,Biscoe,46.1,4500,female
Chinstrap,Dream,46.5,3500,female
Gentoo,Biscoe,50,5700,
"""
R = "--skip-lines=1 --header=no --drop=number:0"
GERMAN = "Länge;Breite;Art;\r\n5,1;3,5;Groß;\r\n4,9;3;klein;\r\n4;2,25;klein;\r\n;;;\r\n"


class Dry:
    """What `--dry-run --json` says of a file, or the sentence with which it is refused."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = tmp_path, capsys

    def __call__(self, content: str | bytes | Path, *options: str, name: str = "t.csv") -> dict[str, Any]:
        path = content if isinstance(content, Path) else self.folder / name
        if not isinstance(content, Path):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        code = inject_files.main([str(path), "--dry-run", "--json", "--quiet", *options])
        out, error = self._capsys.readouterr()
        assert code == 0, error
        found: dict[str, Any] = json.loads(out)
        return found

    def refused(self, content: str | bytes | Path, *options: str, name: str = "t.csv") -> str:
        with pytest.raises(AssertionError) as caught:
            self(content, *options, name=name)
        return str(caught.value).partition("error: ")[2].partition("\n")[0]


@pytest.fixture
def dry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Dry:
    """The preview of a file."""
    return Dry(tmp_path, capsys)


def data(found: dict[str, Any]) -> list[list[float]]:
    """The first samples' numbers."""
    return [row["data"] for row in found["preview"]["rows"]]


def classes(found: dict[str, Any]) -> list[str]:
    """The first samples' classes."""
    return [row["means"] for row in found["preview"]["rows"]]


def notes(found: dict[str, Any]) -> str:
    """What is said beside."""
    return "\n".join(found["taken"]["notes"])


# ------------------------------------------------------------ the first line
@pytest.mark.parametrize(
    ("name", "features", "counted"),
    [
        ("breast_cancer", 30, {"malignant": 212, "benign": 357}),
        ("wine_data", 13, {"class_0": 59, "class_1": 71, "class_2": 48}),
        ("iris", 4, {"setosa": 50, "versicolor": 50, "virginica": 50}),
    ],
)
def test_scikit_learns_first_line_is_understood(dry: Dry, name: str, features: int, counted: dict[str, int]) -> None:
    """Its counts are checked, its words are the classes; sorted rows are given another order by --shuffle."""
    found = dry(SHIPPED / f"{name}.csv", "--normalize")
    assert found["taken"]["classes"] == counted and f"{features} features, the classes {', '.join(counted)}" in notes(
        found
    )
    assert found["input_config"]["data_reshape"] == str(features)
    assert found["input_config"]["label_reshape"] == str(len(counted))
    if name != "breast_cancer":
        assert "give its rows another order with --shuffle 1" in dry.refused(
            SHIPPED / f"{name}.csv", "--test-rate", "0.2"
        )
    shuffled = dry(SHIPPED / f"{name}.csv", "--normalize", "--shuffle", "1", "--test-rate", "0.2")
    assert shuffled["taken"]["classes"] == counted and shuffled["taken"]["test_classes"].keys() == counted.keys()
    assert dry(SHIPPED / f"{name}.csv", "--normalize", "--shuffle", "1", "--test-rate", "0.2") == shuffled != found


def test_a_first_line_that_counts_wrong_is_no_such_line(dry: Dry) -> None:
    """A file that was cut is told by its own first line."""
    whole = "4,2,no,yes\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n"
    assert dry(whole)["taken"]["classes"] == {"no": 2, "yes": 2}
    cut = dry.refused(whole[:-6])
    assert (
        cut == "t.csv, line 1, says that 4 rows follow, but 3 do: leave it out with --skip-lines 1 where that is right"
    )
    assert dry(whole[:-6], "--skip-lines", "1")["taken"]["rows"] == 3


@pytest.mark.parametrize(
    ("text", "told", "options"),
    [
        ("about,these,rows,a,b\n1,2,0\n3,4,1\n", "line 1, has 5 cells; the lines after it have 3", "--skip-lines=1"),
        ("a,y\nr1,1,0\nr2,3,1\n", "line 1, has 2 cells; the lines after it have 3, as where each row", R),
        ("# made by hand\n\n1,2,0\n3,4,1\n", "line 1, has 1 cells; the lines after it have 3", "--skip-lines=1"),
        ("a,b,y\n1,2,0\n3,4,1,7\n5,6,1\n", "t.csv, line 3, has 4 cells; others have 3", ""),
        ('a,b,y\n1,2,0\n\n3,"4\n4",1\n5,six,1\n', "t.csv, line 4, column 'b', is '4\\n4'", ""),
        ('a,b,y\n1,2,0\n3,4,1\n5,"6,1\n', "t.csv, line 4, is no CSV: unexpected end of data", ""),
    ],
)  # fmt: skip
def test_the_line_that_is_wrong_is_named(dry: Dry, text: str, told: str, options: str) -> None:
    """The odd one out, whether it is the first or another; a row of several lines by its first."""
    sentence = dry.refused(text)
    assert told in sentence
    if options:
        assert all(option.replace("=", " ") in sentence for option in options.split())
        assert dry(text, *options.split())["taken"]["rows"] == 2


def test_rows_of_words_and_numbers_without_a_header(dry: Dry) -> None:
    """UCI's files: a fraction is no column's name; words that stand below too are asked about."""
    iris = "5.1,3.5,Iris-setosa\n7.0,3.2,Iris-versicolor\n"
    assert dry(iris, name="iris.data")["taken"]["classes"] == {"Iris-setosa": 1, "Iris-versicolor": 1}
    mushrooms = "p,x,s\ne,x,y\np,b,s\n"
    assert "line 1 has words that stand below it too, so it may be a row; say which with --header" in dry.refused(
        mushrooms
    )
    assert dry(mushrooms, "--header", "no", "--categories", "codes")["taken"]["rows"] == 3


# ------------------------------------------------------------ how it is written
@pytest.mark.parametrize(
    ("mark", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe"), (" ", "space"), (",", "comma"), ("~", "~")]
)
def test_delimiters_are_recognised_and_named(dry: Dry, mark: str, name: str) -> None:
    """What separates cells is taken where nothing else can, and said; a name or the character says it too."""
    text = "a,b,y\n1.5,2,0\n3,4,1\n".replace(",", mark)
    asked = ["--delimiter", name]
    assert data(dry(text, *asked)) == [[1.5, 2], [3, 4]] == data(dry(text, "--delimiter", mark))
    if mark != "~":
        found = dry(text)
        assert data(found) == [[1.5, 2], [3, 4]] and (name in notes(found)) == (mark != ",")


def test_two_delimiters_are_a_question(dry: Dry) -> None:
    """A decimal comma is none; words with both are asked about."""
    assert "--delimiter" in dry.refused("1;2,x;3,0\n1;2,x;3,0\n")
    assert data(dry("1,5;2,5;0\n1,5;2;1\n", "--decimal", ",")) == [[1.5, 2.5], [1.5, 2]]
    assert data(dry("sep=;\na;y\n1;0\n2;1\n"))[1] == [2]
    assert data(dry("  1   2.5\t0\n 3 4      1 \n", name="seeds.txt")) == [[1, 2.5], [3, 4]]
    assert "is neither one character nor one of comma" in dry.refused("1,2\n", "--delimiter", "dot")


def test_a_german_file(dry: Dry) -> None:
    """Semicolons, decimal commas, Windows' letters, an empty last column and an empty last row."""
    content = GERMAN.encode("cp1252")
    told = dry.refused(content)
    assert told == (
        "t.csv, line 1, holds the byte 0xe4, which is no UTF-8 there; as Western European Windows writes it, it reads "
        "'Länge;Breite;': say --encoding cp1252 if that is right, else another one"
    )
    told = dry.refused(content, "--encoding", "cp1252")
    assert (
        "line 2, column 'Länge', is '5,1'" in told and "if a comma stands before the fraction, say --decimal ," in told
    )
    found = dry(content, "--encoding", "cp1252", "--decimal", ",")
    assert data(found) == [[5.1, 3.5], [4.9, 3], [4, 2.25]] and classes(found) == ["Groß", "klein", "klein"]
    assert found["preview"]["columns"] == ["Länge", "Breite"] and "semicolons" in notes(found)
    assert "and --decimal , says that none has a point" in dry.refused("a;y\n1,5;0\n2.5;1\n", "--decimal", "comma")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_encodings(dry: Dry, encoding: str) -> None:
    """A byte order mark says it; without one it is asked for by name."""
    text = "größe\tart\n1.5\tweiß\n2\tschwarz\n"
    content = text.encode(encoding)
    if encoding in ("utf-16", "utf-8-sig"):
        found = dry(content)
    else:
        assert f"--encoding {'cp1252' if encoding == 'latin-1' else encoding}" in dry.refused(content)
        found = dry(content, "--encoding", encoding)
    assert found["preview"]["columns"] == ["größe"] and classes(found) == ["weiß", "schwarz"]
    assert "is no text encoding" in dry.refused(content, "--encoding", "hex")


def test_a_byte_of_no_encoding_is_named_at_its_line(dry: Dry) -> None:
    """Also far down, where a reader has taken many lines at once."""
    content = b"a,y\n" + b"1,0\n" * 5000 + b"2,\xfc\n"
    assert dry.refused(content).startswith("t.csv, line 5002, holds the byte 0xfc, which is no UTF-8 there")
    assert "which cp1252 does not have: say --encoding latin-1" in dry.refused(b"a,y\n1,\x81\n", "--encoding", "cp1252")


# ------------------------------------------------------------ words, gaps, classes
def test_penguins(dry: Dry) -> None:
    """Words as labels and data, gaps: each option that is needed is named, one after the other."""
    label = ["--label-column", "species"]
    told = dry.refused(PENGUINS, *label)
    assert told == (
        "t.csv: column 'island' holds words (Biscoe, Dream, Torgersen): say --categories one-hot or --categories "
        "codes, or leave it out with --drop island"
    )
    told = dry.refused(PENGUINS, *label, "--categories", "one-hot")
    assert told.startswith("t.csv, line 3, column 'bill_mm', is 'NA', so nothing is there; every cell must be a finite")
    assert all(option in told for option in ("--missing drop", "--missing mean", "--drop bill_mm"))
    found = dry(PENGUINS, *label, "--categories", "one-hot", "--missing", "drop")
    assert found["preview"]["columns"] == [
        "island=Biscoe", "island=Dream", "island=Torgersen", "bill_mm", "mass_g", "sex=female", "sex=male",
    ]  # fmt: skip
    assert data(found)[0] == [0, 0, 1, 39.1, 3750, 0, 1] and classes(found) == ["Adelie", "Gentoo", "Chinstrap"]
    assert found["taken"][
        "rows"
    ] == 3 and "rows with a missing cell are left out (bill_mm 1, mass_g 1, sex 2)" in notes(found)
    assert (
        "classes learnt from the words: sites that train together all say --classes Adelie,Chinstrap,Gentoo"
        in notes(found)
    )
    assert "all say --words island=Biscoe,Dream,Torgersen --words sex=female,male" in notes(found)
    found = dry(PENGUINS, *label, "--categories", "codes", "--missing", "mean")
    assert data(found)[1] == [2, pytest.approx(45.425), 4362.5, 0]
    assert "1 missing cell of column 'mass_g' become 4362.5, the mean" in notes(found)
    assert "2 missing cells of column 'sex' become 'female', the most frequent word there" in notes(found)
    found = dry(PENGUINS, *label, "--drop", "island", "--drop", "sex", "--missing", "drop")
    assert found["preview"]["columns"] == ["bill_mm", "mass_g"] and found["taken"]["rows"] == 4


def test_classes_by_name(dry: Dry) -> None:
    """In the order that is said, also those that this site does not have; a wrong one is named at its line."""
    text = "a,y\n5,M\n2,B\n3,M\n"
    found = dry(text, "--classes", "B, M,other")
    assert found["taken"]["classes"] == {"B": 1, "M": 2, "other": 0} and found["input_config"]["label_reshape"] == "3"
    assert found["preview"]["rows"][0]["label"] == [0, 1, 0]
    assert dry.refused(text, "--classes", "A,B") == "t.csv, line 2, column 'y', is 'M', which is none of A, B"
    assert "holds 2 classes (B, M), not 3: name all of them in their order, such as --classes B,M,..." in dry.refused(
        text, "--classes", "3"
    )
    numbered = "a,y\n1,0\n2,1\n"
    assert dry(numbered, "--classes", "no,yes")["taken"]["classes"] == {"no": 1, "yes": 1}
    assert dry("a,y\n1,3\n2,7.0\n", "--classes", "3,5,7")["taken"]["classes"] == {"3": 1, "5": 0, "7": 1}
    assert "subtract 1 with --label-subtract 1" in dry.refused("a,y\n1,1\n2,2\n", "--classes", "no,yes")
    for wrong in ("a", "a,a", ",", "1", 'a,"b'):
        assert "--classes" in dry.refused(text, "--classes", wrong)


def test_what_is_said_of_columns_that_are_no_numbers(dry: Dry) -> None:
    """Truth, names of rows, text, one bad cell; words by their own list."""
    rows = "".join(f"{n},name {n},{n % 2 == 0},{n % 3}\n" for n in range(1, 40))
    told = dry.refused("id,name,smoker,y\n" + rows, "--drop", "id", "--categories", "codes")
    assert "column 'name' holds another word in each row" in told and told.endswith("leave it out with --drop name")
    found = dry("id,name,smoker,y\n" + rows, "--drop", "id", "--drop", "name")
    assert data(found)[:2] == [[0], [1]] and "column 'smoker': true is 1, false is 0" in notes(found)
    assert "line 3, column 'a', is 'oops'; every cell must be a number" in dry.refused("a,y\n1,0\noops,1\n")
    sizes = "size,y\nS,0\nL,1\n"
    assert data(dry(sizes, "--words", "size=S,M,L")) == [[1, 0, 0], [0, 0, 1]]
    assert data(dry(sizes, "--words", "size=S,M,L", "--categories", "codes")) == [[0], [2]]
    assert "line 3, column 'size', is 'L', which is none of S, M" in dry.refused(sizes, "--words", "size=S,M")
    assert "none of the data's columns" in dry.refused(sizes, "--words", "y=0,1")
    assert dry("a,y\n1,0\n2,NA\n", "--missing", "mean")["taken"]["rows"] == 1


@pytest.mark.parametrize("columns", [["a", "y"], ["a", "b", "y"]])
def test_pandas_index_is_left_out_and_said(dry: Dry, columns: list[str]) -> None:
    """An unnamed first column that counts all rows is no feature; one that only begins so is asked about."""
    rows = [[str(n), *(str(n * 3 % 7) for _ in columns)] for n in range(40)]
    text = "".join(",".join(row) + "\n" for row in [["", *columns], *rows])
    found = dry(text)
    assert found["preview"]["columns"] == columns[:-1] and "counts the rows: left out (--drop none keeps it)" in notes(
        found
    )
    assert dry(text, "--drop", "none")["preview"]["columns"][0] == ""
    assert dry(text, "--drop", "a", "--no-labels")["preview"]["columns"] == columns[1:]
    assert "has no name, as an index does: leave it out with --drop number:0" in dry.refused(
        text + "99" + ",1" * len(columns) + "\n"
    )


# ------------------------------------------------------------ arrays
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_stored_by_columns_are_copied(dry: Dry, save: Any) -> None:
    """As DataFrame.to_numpy() gives them; the same samples as those stored by rows."""
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    save(dry.folder / "columns.npz", x=np.asfortranarray(x), y=np.array(["b", "a", "c", "a"]))
    save(dry.folder / "rows.npz", x=x, y=np.array([b"b", b"a", b"c", b"a"]))
    found = dry(dry.folder / "columns.npz")
    assert data(found) == x.tolist() == data(dry(dry.folder / "rows.npz"))
    assert classes(found) == ["b", "a", "c", "a"] and "stored by columns: copied" in notes(found)
    assert found["taken"]["classes"] == {"a": 2, "b": 1, "c": 1}
    assert "row 1, is 'b', which is none of a, c" in dry.refused(dry.folder / "rows.npz", "--classes", "a,c")


def test_arrays_with_gaps(dry: Dry) -> None:
    """NaN is named by its row before anything is sent, also in another order; --missing does what it does to tables."""
    x = np.array([[1, 2], [np.nan, 4], [5, 9], [3, 3]])
    np.savez(dry.folder / "g.npz", x=x, y=np.array([0.5, 1, np.nan, 2]))
    told = "g.npz, row 2: the data is nan at position 0; every number must be finite: where nothing was measured"
    assert dry.refused(dry.folder / "g.npz").startswith(told)
    whole = np.where(np.isnan(x), 7, x)
    np.savez(dry.folder / "h.npz", x=whole, y=np.array([0, 1, 5, 1]))
    for seed in range(3):
        sentence = dry.refused(dry.folder / "h.npz", "--classes", "2", "--shuffle", str(seed))
        assert sentence.startswith("h.npz, row 3, has the label 5"), sentence
    found = dry(dry.folder / "g.npz", "--missing", "drop")
    assert data(found) == [[1, 2], [3, 3]] and "1 rows hold NaN in their data, 1 in their label: left out" in notes(
        found
    )
    assert data(dry(dry.folder / "g.npz", "--missing", "mean")) == [[1, 2], [3, 4], [3, 3]]


def test_arrays_of_text_are_read_like_a_table(dry: Dry) -> None:
    """A frame of mixed columns, saved as text."""
    np.savez(dry.folder / "t.npz", x=np.array([["1.5", "red"], ["2", "blue"]]), y=np.array([1, 0]))
    assert "column '1' holds words (blue, red): say --categories" in dry.refused(dry.folder / "t.npz")
    found = dry(dry.folder / "t.npz", "--categories", "one-hot", "--classes", "2")
    assert data(found) == [[1.5, 0, 1], [2, 1, 0]] and classes(found) == ["class 1", "class 0"]


class Doom:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, ("unpickled",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_are_told_and_never_opened(dry: Dry, protocol: int) -> None:
    """CIFAR's Python batches by their content, whatever they are called; the way that is printed works."""
    batch = {b"batch_label": b"training batch 1", b"data": np.zeros((2, 3072), np.uint8), b"labels": [3, 4]}
    path = dry.folder / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol))
    told = dry.refused(path)
    assert told.startswith("data_batch_1 is a batch of CIFAR's Python version, a pickle; pickles can run code")
    assert "(data_batch_1.bin)" in told
    if protocol == 2:
        way = told.partition('python -c "')[2].removesuffix('"')
        subprocess.run([sys.executable, "-c", way], cwd=dry.folder, check=True)
        found = dry(dry.folder / "data_batch_1.npz", "--classes", "10")
        assert found["input_config"]["data_reshape"] == "32 32 3" and found["taken"]["classes"] == {"3": 1, "4": 1}
    for name in ("doom.csv", "doom.npz", "doom.bin", "doom"):
        assert "is a Python pickle; pickles can run code" in dry.refused(pickle.dumps(Doom(), protocol), name=name)


def zipped(*names: str) -> bytes:
    """A zip archive of empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (zipped("xl/workbook.xml"), "t.xlsx", "t.xlsx is an Excel workbook; save its sheet as CSV UTF-8"),
        (zipped("a.csv", "b.csv"), "t.zip", "t.zip is a zip archive of a.csv, b.csv; unpack it first"),
        (b"PAR1rest", "t.csv", "t.csv is a Parquet file; write it as CSV"),
        (b"\x93NUMPY\1\0", "t.npy", "t.npy is one NumPy array"),
        (b"\xd0\xcf\x11\xe0\xa1", "t.xls", "an Excel workbook of old"),
        (b'{"a": 1}', "t.json", "t.json is JSON"),
        (bytes(257) + b"ustar\0", "cifar-10-python.tar", "is a tar archive; unpack it first"),
    ],
)  # fmt: skip
def test_other_files_are_told_what_to_become(dry: Dry, content: bytes, name: str, told: str) -> None:
    """What cannot be read here says by its first bytes what it is."""
    assert told in dry.refused(content, name=name)


# ------------------------------------------------------------ the preview for people
def test_the_preview_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was taken, the input format, and the first samples as a table; Kafka is not asked."""
    (tmp_path / "p.csv").write_text(PENGUINS)
    options = ["--label-column", "species", "--missing", "drop", "--drop", "island", "--drop", "sex", "--dry-run"]
    assert inject_files.main([str(tmp_path / "p.csv"), *options, "--bootstrap", "nowhere:1"]) == 0
    out, error = capsys.readouterr()
    assert out.splitlines() == [
        "  input format: RAW, data float32 of shape 2, label float32 of shape 3",
        "  the first samples, as the model will see them:",
        "    bill_mm  mass_g              label",
        "       39.1    3750     1 0 0 (Adelie)",
        "       46.1    4500     0 0 1 (Gentoo)",
        "       46.5    3500  0 1 0 (Chinstrap)",
        "         50    5700     0 0 1 (Gentoo)",
        "Nothing was sent (--dry-run).",
    ]
    assert "label: column 'species' (number 0): 3 classes: Adelie (1), Chinstrap (1), Gentoo (2)" in error


def test_words_are_parsed_as_they_are_told() -> None:
    """What is printed for the other sites is taken there."""
    words = parse_words('plain,"with, comma",x', "--classes")
    assert parse_words(words.option, "--classes") == words and len(words.names) == 3
    with pytest.raises(ConfigError, match="at least two different words"):
        parse_words("a,a", "--classes")
