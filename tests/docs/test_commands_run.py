"""Every command that a page prints for the machine of `./run.sh` runs there as printed, beside a real platform."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.platform import until
from tests.docs.blocks import PAGES, SHELL, Block, blocks_of
from tests.docs.checkout import Checkout, make_files
from tests.docs.setups import PLATFORM, PROGRAM, setup_of
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.training]

GUIDE = "docs/rest.md"
"""Whose federation the other pages go on with, and whose variables some of them name."""

AS_IN_THE_GUIDE = ("docs/audit.md", "docs/forests.md", "docs/inference.md", "docs/job-by-hand.md", "docs/kafka-ml.md")

DIGITS = "import numpy as np\nx_train, y_train = np.zeros((9, 784), np.float32), np.eye(10, dtype=np.float32)[:9]"

BEFORE = {
    "from inject_scripts.sinks.federated_raw_sink import FederatedRawSink": DIGITS,
    "from inject_scripts import FederatedRawSink": "",
    "from mainstem.streams.codecs import codec_for": f"{DIGITS}\nx, y = x_train[0], y_train[0]",
    "import numpy as np": "",
    "import json": f"{DIGITS}\nsamples = list(zip(x_train, y_train))",
}
"""What a program leaves to people, by the beginning of its first line."""


ONCE = {"/injections/": "waiting", "/results/": "finished"}
"""What a person sees in the answers before going on in the guide, by what the next block asks for."""


def run(page: str) -> list[Block]:
    """The blocks of a page that run here."""
    return [block for block in blocks_of(page) if setup_of(block) in (PLATFORM, PROGRAM)]


OTHERS = [page for page in PAGES if page != GUIDE and run(page)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a platform that is as new as a new user's."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    make_files(made.root)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def guided(checkout: Checkout) -> dict[str, str]:
    """What the REST guide's blocks printed, read as a person does: its results once the run is over."""
    said = {}
    for block in run(GUIDE):
        if wanted := next((state for part, state in ONCE.items() if part in block.text), None):
            until(lambda wanted=wanted: checkout.platform.state("ddy6heod") == wanted, PATIENCE)  # type: ignore[misc]
        said[block.first] = checkout.types(block)
    return said


def test_the_rest_guide(checkout: Checkout, guided: dict[str, str]) -> None:
    """From the login to the downloaded model and a prediction, on an empty platform: the ids are those shown."""
    final = (checkout.root / "final.keras").read_bytes()
    assert final[:2] == b"PK"
    assert '"outputs"' in guided['curl -s $API/results/ddy6heod/ -H "$AUTH"']


@pytest.mark.parametrize("page", OTHERS)
def test_a_page(page: str, checkout: Checkout, guided: dict[str, str]) -> None:
    """Each block in its order; what it assigns is there in the next."""
    assert guided
    for block in run(page):
        if block.language in SHELL:
            checkout.types(block, GUIDE if page in AS_IN_THE_GUIDE else None)
        else:
            (before,) = [lines for first, lines in BEFORE.items() if block.first.startswith(first)]
            checkout.runs(block, before)
