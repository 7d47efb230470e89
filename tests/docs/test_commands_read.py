"""Every command of the pages is classified, and those that are not run here are taken by their programs' parsers."""

from __future__ import annotations

import re

import pytest

from tests.docs import setups
from tests.docs.blocks import PAGES, SHELL, Block, blocks_of, commands_of, spans_of
from tests.docs.parsers import fault

BARE = re.compile(r"^(?:mainstem|python3?) (?!-c)", re.MULTILINE)


def typed() -> list[Block]:
    """The blocks that people type."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in SHELL]


def test_every_block_has_a_set_up() -> None:
    """A new page, or a block in another language, is entered in `setups`; and what is there is on a page."""
    assert set(PAGES) == set(setups.PAGES)
    found = {block: setups.setup_of(block) for page in PAGES for block in blocks_of(page)}
    known = {setups.PLATFORM, setups.PROGRAM, setups.OUTPUT, *setups.LEFT_OUT}
    assert set(found.values()) <= known
    for page, first in setups.BLOCKS:
        assert any(block.page == page and block.first.startswith(first) for block in found), (page, first)


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.page == page for b in typed())])
def test_a_block_s_commands_are_taken(page: str) -> None:
    """By the parser of their program, with files and modules that there are; and the shell finds each as printed."""
    for block in blocks_of(page):
        if block.language not in SHELL:
            continue
        faults = [(words, said) for words in commands_of(block.text) if (said := fault(words))]
        assert not faults, (str(block), faults)
        if setups.setup_of(block) != "restore" and page != "CONTRIBUTING.md":
            assert not BARE.search(block.text), f"{block}: not on anybody's PATH: print .venv/bin/ before it"


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_taken(page: str) -> None:
    """`mainstem verify ID` and the like, with words in capitals for what people put in."""
    faults = []
    for span in spans_of(page):
        if not re.match(r"(?:\.venv/bin/)?(?:mainstem|python3?) |\./\w+\.sh|kubectl apply", span):
            continue
        text = re.sub(r"[A-Z]\b(?=[ ,]|$)|\bID\b|N\b", "1", span.replace("...", ""))
        for words in commands_of(text):
            if words[0] == "mainstem" and (len(words) < 3 and not _needs_nothing(words)):
                continue  # a command's name
            if said := fault(words):
                faults.append((span, said))
    assert not faults


def _needs_nothing(words: list[str]) -> bool:
    return len(words) == 2 and fault(words) is None
