"""A look at samples before any is sent: the first ones as the model will see them, for people and for programs."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy as np

from inject_scripts.readers.source import DataSet
from inject_scripts.samples import Samples

ROWS: Final = 5
MOST_COLUMNS: Final = 12
"""Numbers of a sample that are printed; programs are given MOST_VALUES."""
MOST_VALUES: Final = 4096
_WIDEST: Final = 18


def preview(source: DataSet, samples: Samples) -> dict[str, Any]:
    """The first samples: `columns` (names of the numbers, of flat ones), `rows` of `data` and `label` (flat), and what
    the label `means` where it is a class. Raises DecodeError."""
    rows = []
    for x, y in itertools.islice(samples.iterate(), ROWS):
        label = None if y is None else np.asarray(y).reshape(-1)
        rows.append({
            "data": [_plain(value) for value in np.asarray(x).reshape(-1)[:MOST_VALUES]],
            "label": None if label is None else [_plain(value) for value in label[:MOST_VALUES]],
            "means": _means(label, samples),
        })  # fmt: skip
    named = len(source.columns) == math.prod(samples.x_shape)
    return {"columns": list(source.columns[:MOST_VALUES]) if named else [], "rows": rows}


def lines(found: dict[str, Any], config: dict[str, Any], input_format: str) -> list[str]:
    """The same for people: the input format, and a table with a row for each sample."""
    told = [f"  input format: {input_format}, data {config['data_type']} of shape {config['data_reshape']}"]
    if "label_type" in config:
        told[0] += f", label {config['label_type']} of shape {config['label_reshape']}"
    told.append("  the first samples, as the model will see them:")
    table = [[*_header(found), "label"]]
    for row in found["rows"]:
        label = "none" if row["label"] is None else " ".join(_short(value) for value in row["label"][:MOST_COLUMNS])
        means = f" ({row['means']})" if row["means"] else ""
        more = ["..."] if len(row["data"]) > MOST_COLUMNS else []
        table.append([*map(_short, row["data"][:MOST_COLUMNS]), *more, label + means])
    widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
    return told + [
        "    " + "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in table
    ]


def _header(found: dict[str, Any]) -> list[str]:
    count = len(found["rows"][0]["data"]) if found["rows"] else len(found["columns"])
    names = found["columns"] or [str(i) for i in range(count)]
    cut = [name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…" for name in names[:MOST_COLUMNS]]
    return [*cut, *(["..."] if count > MOST_COLUMNS else [])]


def _means(label: Any, samples: Samples) -> str:
    if label is None or samples.classes is None or label.size != samples.classes:
        return ""
    number = int(label.argmax())
    return samples.class_names[number] if samples.class_names else f"class {number}"


def _plain(value: Any) -> float | int | bool:
    """A NumPy number as Python's; float32 with as few digits as tell it from its neighbours."""
    return float(str(value)) if value.dtype.kind == "f" else value.item()


def _short(value: float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
