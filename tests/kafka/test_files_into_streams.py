"""Ten files as people have them: injected by the options that each needs, read back, and learnt from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray

from inject_scripts import inject_files
from mainstem.kafka.broker.embedded import EmbeddedKafka
from tests.support.site import Site

pytestmark = pytest.mark.kafka

SHIPPED = Path(sklearn.__file__).parent / "datasets" / "data"
ALWAYS = ["--normalize", "--shuffle", "1", "--test-rate", "0.25", "--quiet", "--json"]


def shipped(name: str) -> NDArray[np.float64]:
    """One of scikit-learn's tables, without its first line."""
    return np.loadtxt(SHIPPED / name, delimiter=",", skiprows=1)


def csv(rows: Any, names: list[str] | None = None, mark: str = ",", decimal: str = ".", end: str = "\n") -> str:
    """Rows as text."""
    lines = [names] if names else []
    lines += [
        [f"{cell:g}".replace(".", decimal) if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    return "".join(mark.join(line) + end for line in lines)


def penguins() -> bytes:
    """Palmer's penguins as seaborn ships them: words, gaps, the label in front; measures drawn from the real means."""
    rng = np.random.default_rng(7)
    kinds = {
        "Adelie": (38.8, 18.3, 190, 3700, ("Torgersen", "Biscoe", "Dream")),
        "Chinstrap": (48.8, 18.4, 196, 3733, ("Dream",)),
        "Gentoo": (47.5, 15.0, 217, 5076, ("Biscoe",)),
    }
    rows = []
    for species, (bill, depth, flipper, mass, islands) in kinds.items():
        for _ in range(100):
            measures = rng.normal((bill, depth, flipper, mass), (2.5, 1.0, 6.0, 350.0)).round(1)
            rows.append(
                [
                    species,
                    rng.choice(islands),
                    *measures.tolist(),
                    rng.choice(["MALE", "FEMALE", "NA"], p=(0.48, 0.48, 0.04)),
                ]
            )
    rows[3][2:6] = ["NA"] * 4
    names = ["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]
    return csv(rows, names).encode()


def german() -> bytes:
    """scikit-learn's wines as a German Excel saves them: cp1252, semicolons, decimal commas."""
    wines = shipped("wine_data.csv")
    sorts = ["Weiß", "Rosé", "Rot"]
    rows = [[*row[:-1].tolist(), sorts[int(row[-1])]] for row in wines]
    return csv(rows, [f"Größe {i}" for i in range(13)] + ["Sorte"], ";", ",", "\r\n").encode("cp1252")


def excel() -> bytes:
    """Irises as Excel's "Unicode text": UTF-16 with tabs."""
    sorts = ["Iris sétosa", "Iris versicolor", "Iris virginica"]
    rows = [[*row[:-1].tolist(), sorts[int(row[-1])]] for row in shipped("iris.csv")]
    return csv(rows, ["sépale 1", "sépale 2", "pétale 1", "pétale 2", "sorte"], "\t", end="\r\n").encode("utf-16")


def pandas_index() -> bytes:
    """Breast cancers as DataFrame.to_csv() writes them, its index in front."""
    rows = [[n, *row[:-1].tolist(), int(row[-1])] for n, row in enumerate(shipped("breast_cancer.csv"))]
    return csv(rows, ["", *(f"f{i}" for i in range(30)), "target"]).encode()


def by_columns() -> bytes:
    """Breast cancers as np.savez(x=frame.to_numpy(), y=labels) stores them: by columns, the labels words."""
    rows = shipped("breast_cancer.csv")
    file = io.BytesIO()
    np.savez(file, x=np.asfortranarray(rows[:, :-1]), y=np.array(["malignant", "benign"])[rows[:, -1].astype(int)])
    return file.getvalue()


def uci() -> bytes:
    """UCI's iris.data: no header, words as labels, a blank line at the end."""
    rows = [[*row[:-1].tolist(), f"Iris-{int(row[-1])}"] for row in shipped("iris.csv")]
    return (csv(rows) + "\n").encode()


def ours(name: str) -> Callable[[], bytes]:
    """A file as scikit-learn ships it."""
    return (SHIPPED / name).read_bytes


@pytest.mark.parametrize(
    ("name", "content", "options", "classes", "least"),
    [
        ("breast_cancer.csv", ours("breast_cancer.csv"), [], ["malignant", "benign"], 0.92),
        ("wine_data.csv", ours("wine_data.csv"), [], ["class_0", "class_1", "class_2"], 0.92),
        ("iris.csv", ours("iris.csv"), [], ["setosa", "versicolor", "virginica"], 0.85),
        ("digits.csv.gz", ours("digits.csv.gz"), ["--classes", "10", "--limit", "700"], [*"0123456789"], 0.85),
        (
            "penguins.csv",
            penguins,
            ["--label-column", "species", "--missing", "drop", "--categories", "one-hot"],
            ["Adelie", "Chinstrap", "Gentoo"],
            0.95,
        ),
        ("weine.csv", german, ["--decimal", ",", "--encoding", "cp1252"], ["Rosé", "Rot", "Weiß"], 0.92),
        ("iris.txt", excel, [], ["Iris sétosa", "Iris versicolor", "Iris virginica"], 0.85),
        ("frame.csv", pandas_index, ["--classes", "malignant,benign"], ["malignant", "benign"], 0.92),
        ("frame.npz", by_columns, [], ["benign", "malignant"], 0.92),
        ("iris.data", uci, [], ["Iris-0", "Iris-1", "Iris-2"], 0.85),
    ],
)  # fmt: skip
def test_a_file_is_injected_and_learnt_from(
    kafka: EmbeddedKafka,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: Callable[[], bytes],
    options: list[str],
    classes: list[str],
    least: float,
) -> None:
    """The stream's own test part is recognised by a model that has seen only the rest."""
    (tmp_path / name).write_bytes(content())
    site = Site(kafka)
    assert inject_files.main([str(tmp_path / name), *site.options, *ALWAYS, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["taken"]["classes"]) == classes
    ((announcement, batch),) = site.announced()
    assert batch.y is not None and not batch.refused and batch.y.shape == (announcement.total_msg, len(classes))
    assert batch.y.sum(axis=0).tolist() == list(told["taken"]["classes"].values())
    tests = told["streams"][0]["test"]
    weights = learnt(batch.x[:-tests], batch.y[:-tests])
    right = (with_one(batch.x[-tests:]) @ weights).argmax(axis=1) == batch.y[-tests:].argmax(axis=1)
    assert right.mean() >= least, f"{name}: {right.mean():.3f} of {tests}"


def with_one(x: NDArray[Any]) -> NDArray[np.float64]:
    """The samples with a constant beside them."""
    return np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)


def learnt(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """A softmax regression by gradient descent with momentum."""
    x = with_one(x)
    weights = np.zeros((x.shape[1], y.shape[1]))
    speed = np.zeros_like(weights)
    for _ in range(400):
        scores = x @ weights
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        speed = 0.9 * speed - 0.3 * (x.T @ (chances - y) / len(x) + 1e-4 * weights)
        weights += speed
    return weights
