"""A person in a checkout beside `./run.sh`: types what a page prints, as it is printed."""

from __future__ import annotations

import gzip
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.browser.platform import Platform
from tests.docs.blocks import ROOT, Block
from tests.docs.setups import PLACEHOLDERS
from tests.support.patience import PATIENCE

PORTS = {"localhost:8000": "api", "localhost:9092": "kafka"}
"""What `./run.sh` listens on. The tests' platform has free ports instead: all that is changed of a command."""

PRELUDE = """
set -eo pipefail
curl() { command curl --fail-with-body "$@"; }  # an HTTP error is one
"""


class Checkout:
    """A directory like the checkout, with `.venv` and the platform's `.mainstem`, in which files may be made.

    What a block assigns is there in the next one of the same page, as in a terminal.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for entry in ROOT.iterdir():
            if entry.name not in (".venv", ".mainstem", ".git"):
                (root / entry.name).symlink_to(entry)
        (root / ".venv").symlink_to(sys.prefix)
        self.platform = Platform(root / ".mainstem")
        self.environment = self.platform.environment | {"HOME": str(root)}
        self.environment.pop("VIRTUAL_ENV", None)
        self._assigned: dict[str, list[str]] = {}

    def close(self) -> None:
        """End the platform."""
        self.platform.close()

    def printed(self, text: str) -> str:
        """A page's text with this platform's ports and with what it leaves for people to put in."""
        running = self.platform.running
        addresses = {"api": running.api.removeprefix("http://"), "kafka": running.kafka}
        for placeholder, value in {**PLACEHOLDERS, **{port: addresses[at] for port, at in PORTS.items()}}.items():
            text = text.replace(placeholder, value)
        return text

    def types(self, block: Block, page: str | None = None) -> str:
        """Run a shell's block; its output. Variables are those of `page`, by default the block's own."""
        page = page or block.page
        names = self._assigned.setdefault(page, [])
        names += [name for name in re.findall(r"\b([A-Z_]{2,})=", block.text) if name not in names]
        state = self.root / f".state-{page.replace('/', '-')}"
        script = f"{PRELUDE}\n[ ! -f {state} ] || . {state}\n{self.printed(block.text)}\n"
        if names:
            script += f"declare -p {shlex.join(names)} 2>/dev/null > {state} || true\n"
        return self._run(["bash", "-c", script], block)

    def runs(self, block: Block, before: str) -> str:
        """Run a program in Python, after the lines that the page leaves to people; its output."""
        text = self.printed(f"{before}\n{block.text}")
        return self._run([str(self.root / ".venv" / "bin" / "python"), "-c", text], block)

    def _run(self, command: list[str], block: Block) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, check=False, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


DIAGNOSES = ("healthy", "sick")
"""The classes of patients.csv, as the page's command names them."""


def make_files(at: Path) -> None:
    """The files that docs/streams.md injects, each with 60 rows."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 5
    np.savez(at / "mine.npz", x=random.normal(size=(60, 4)).astype(np.float32), y=labels)
    pressures = enumerate(random.normal(120, 10, 60))
    rows = [f"{20 + n * 7 % 60},{pressure:.1f},{DIAGNOSES[n % 2]}" for n, pressure in pressures]
    (at / "patients.csv").write_text("age,pressure,diagnosis\n" + "\n".join(rows) + "\n")
    species = ("Adelie", "Chinstrap", "Gentoo")
    birds = [f"{species[n % 3]},{'NA' if n == 7 else 40 + n},{('male', 'female')[n % 2]}" for n in range(60)]
    (at / "penguins.csv").write_text("species,bill_length_mm,sex\n" + "\n".join(birds) + "\n")
    pixels = random.integers(0, 256, (60, 28, 28), np.uint8)
    images = struct.pack(">HBBIII", 0, 8, 3, 60, 28, 28) + pixels.tobytes()
    (at / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    digits = (np.arange(60) % 10).astype(np.uint8)
    (at / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 60) + digits.tobytes()))
    for number in (1, 2):
        batch = np.concatenate([digits[:, None], random.integers(0, 256, (60, 3072), np.uint8)], axis=1)
        (at / f"data_batch_{number}.bin").write_bytes(batch.tobytes())
