"""Every layer that Keras exports trains and proves, or is refused with a sentence; `docs/keras.md` lists them."""

from __future__ import annotations

import pytest

from federated_training.engines.keras.architecture_parts import LAYERS, REFUSED
from tests.keras_zoo import layers, page
from tests.keras_zoo.layer_cases import CASES

pytestmark = pytest.mark.training

BROKEN = {
    "RandomShear": "Keras cannot build this model: ",  # Keras 3.15 writes a config that it does not take
    "RandomCrop": "The model fails on samples of zeros: ",  # it does not crop when a functional model predicts
}


def test_no_layer_is_left_out() -> None:
    """A layer that Keras gains is tried, or refused with its reason, or this fails."""
    reasons = {name for name in REFUSED if name in layers.exported()}
    assert set(layers.exported()) == set(CASES) | reasons
    assert set(CASES) <= LAYERS | {"InputLayer"}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_trains_and_proves_or_is_refused_with_a_sentence(name: str) -> None:
    """Sent as data it is the same model, and a round from the same weights and seed gives the same bytes."""
    refusal = layers.outcome(name)
    assert refusal.startswith(BROKEN.get(name, "")) and bool(refusal) == (name in BROKEN), refusal


def test_the_page_is_what_the_trials_give() -> None:
    """`docs/keras.md` lists what came of them."""
    text = page.PAGE.read_text("utf-8")
    assert page.rewritten(text, "layers", layers.section()) == text, f"run {page.COMMAND} layers"
