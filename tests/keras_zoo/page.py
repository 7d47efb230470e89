"""`docs/keras.md`, whose tables are made by what they tell of: `python -m tests.keras_zoo.page` writes them anew.

A section of the page stands between two marks of its name, and comes from the function of that name here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tests.keras_zoo import layers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "keras.md"
COMMAND = "python -m tests.keras_zoo.page"
SECTIONS: dict[str, Callable[[], str]] = {"layers": layers.section}


def rewritten(page: str, name: str, text: str) -> str:
    """The page with `text` as its section `name`; raises ValueError where the page has no such marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no section between {begin.strip()} and {end}")
    return pattern.sub(lambda _: f"{begin}{text}{end}", page)


def main(names: list[str]) -> None:
    """Write the sections of these names, or all."""
    for name in names or list(SECTIONS):
        PAGE.write_text(rewritten(PAGE.read_text("utf-8"), name, SECTIONS[name]()), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
