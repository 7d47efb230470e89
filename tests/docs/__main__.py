"""`python -m tests.docs`: every block that people type, its set-up, and why those that are not run are left out."""

from __future__ import annotations

from tests.docs.blocks import PAGES, blocks_of
from tests.docs.setups import LEFT_OUT, OUTPUT, setup_of

for page in PAGES:
    for block in blocks_of(page):
        setup = setup_of(block)
        if setup != OUTPUT:
            print(f"{block}\n    {f'left out ({setup}): {LEFT_OUT[setup]}' if setup in LEFT_OUT else f'run ({setup})'}")
