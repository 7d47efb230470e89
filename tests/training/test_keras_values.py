"""What the table of docs/values.md says a model sees is what Keras hands to its first layer, as a Job feeds it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from federated_training.data.dataset import LabelledSamples
from federated_training.engines.keras.engine import _Batches
from mainstem.errors import MainstemError
from tests.support.values import cases

pytestmark = pytest.mark.training


def test_a_model_sees_what_the_table_says() -> None:
    """Each value that is not refused comes out of a model of that type as it went in."""
    sent: dict[str, list[np.generic]] = {}
    for case in cases():
        try:
            sent.setdefault(case.model, []).append(case.seen())
        except MainstemError:
            continue
    assert {"float32", "float64", "int64"} <= sent.keys()
    for dtype, values in sent.items():
        policy = dtype if dtype.startswith("float") else None
        model = keras.Sequential([keras.Input((1,), dtype=dtype), keras.layers.Identity(dtype=policy)])
        x = np.array(values, dtype).reshape(-1, 1)
        seen = model.predict(_Batches(LabelledSamples(x, x), 32, 0, shuffle=False), verbose=0)
        assert seen.dtype == x.dtype and np.array_equal(seen, x), dtype
