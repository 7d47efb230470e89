"""The form of the pages: lines of 100 columns, links that lead somewhere, a short README, decisions in one frame."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

WIDTH = 100
FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
PAGES = [str(path.relative_to(ROOT)) for path in FILES]

_FENCE = re.compile(r"^\s*(```|~~~).*?^\s*\1$", re.MULTILINE | re.DOTALL)
_WHOLE = re.compile(r"`[^`]+`|!?\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: str) -> str:
    """A page, with empty lines where its code is."""
    text = (ROOT / page).read_text("utf-8")
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def may_be_long(line: str) -> bool:
    """Whether it is a row of a table, a heading, or one code span or link: these are never broken."""
    bare = re.sub(r"^\s*(?:[-*>]|\d+\.)?\s*", "", line)
    return bare.startswith(("|", "#")) or " " not in _WHOLE.sub("-", bare)


def anchors(text: str) -> set[str]:
    """What `#...` may name on a page: its headings, as GitHub makes anchors of them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_lines_have_at_most_100_columns(page: str) -> None:
    """So that a page reads well beside an editor, and a change shows what it changed."""
    lines = enumerate(text_of(page).splitlines(), 1)
    assert [f"{page}:{number}" for number, line in lines if len(line) > WIDTH and not may_be_long(line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link names a file of the checkout, and a heading of it where it names one."""
    missing = []
    for found in _LINK.finditer(text_of(page)):
        name, _, anchor = (found[1] or found[2]).partition("#")
        if ":" in name:
            continue
        target: Path = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            missing.append(found[0])
    assert missing == []


def test_readme_is_read_in_a_few_minutes() -> None:
    """What is longer has a page of its own."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 100


def test_the_index_has_every_page() -> None:
    """docs/README.md says of each page what it answers."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name})" not in index] == []


HEAD = re.compile(
    r"# (?P<number>\d{4}): (?P<title>.+)\n\n\| question \| status \| date \|\n\| --- \| --- \| --- \|\n"
    r"\| (?P<question>.+\?) \| (?P<status>(?:accepted|proposed|superseded by).*?) \| (?P<date>\d{4}-\d\d-\d\d) \|\n\n"
    r"## Context\n"
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


def head_of(path: Path) -> re.Match[str]:
    """The frame of a decision's page."""
    found = HEAD.match(path.read_text("utf-8"))
    assert found, f"{path.name} does not begin as the other decisions do: title, question, status, date, context"
    return found


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_has_the_frame(path: Path) -> None:
    """Its number, a question, a status, a date; then what was decided, and at most what else is in the frame."""
    found = head_of(path)
    assert path.name.startswith(found["number"])
    sections = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)
    frame = ["Context", "Decision", "Alternatives", "Consequences"]
    assert sections[:2] == frame[:2] and sections == [name for name in frame if name in sections]


def test_the_index_of_decisions_says_what_the_pages_say() -> None:
    """In the order of numbers, with title and date, and the status as it begins on the page."""
    index = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+?) \| (\d{4}-\d\d-\d\d) \| (.+) \|$", index, re.MULTILINE)
    found = [head_of(path) for path in DECISIONS]
    assert [row[:4] for row in rows] == [
        (head["number"], path.name, head["title"], head["date"]) for head, path in zip(found, DECISIONS, strict=True)
    ]
    assert [row[4] for row, head in zip(rows, found, strict=True) if not head["status"].startswith(row[4])] == []


def test_the_glossary_has_each_term_once_in_order() -> None:
    """With an example each."""
    entries = (ROOT / "docs" / "glossary.md").read_text("utf-8").split("\n### ")[1:]
    terms = [entry.partition("\n")[0] for entry in entries]
    assert terms == sorted(set(terms), key=str.lower)
    assert [term for term, entry in zip(terms, entries, strict=True) if "Example" not in entry] == []
