"""Which NVIDIA GPUs this machine has, and whether training is told to use them. No driver's library is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
DRIVER: Final = Path("/proc/driver/nvidia/gpus")


def gpus() -> list[str]:
    """Their names, as the kernel's driver gives them; none where there is no driver."""
    found = []
    for about in sorted(DRIVER.glob("*/information")):
        try:
            lines = about.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        found.append(next((line.partition(":")[2].strip() for line in lines if line.startswith("Model:")), "a GPU"))
    return found


def used(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether training takes what GPUs there are: only where the variable names some."""
    named = environ.get(VARIABLE, "-1").strip()
    return bool(named) and not named.startswith("-")


def unused(environ: Mapping[str, str] = os.environ) -> str | None:
    """A sentence where the machine has GPUs that training leaves alone, and how it would use them; else None."""
    names = gpus()
    if not names or used(environ):
        return None
    those = "0" if len(names) == 1 else f"0 to {len(names) - 1}"
    return (
        f"{', '.join(names)}: not used, since training takes the processor, whose results are the same everywhere; "
        f"set {VARIABLE} ({those}) and pip install 'tensorflow[and-cuda]' to use it"
    )
