"""On which set-up each page's commands are printed to run. A page, or a block, that is not here fails the tests.

`platform`: run as printed beside a platform that `mainstem up` started. `program`: Python that runs there, after the
lines in `BEFORE`. All others are read only, each command against the parser of its program:
"""

from __future__ import annotations

from typing import Final

from tests.docs.blocks import Block

PLATFORM: Final = "platform"
PROGRAM: Final = "program"
OUTPUT: Final = "output"
LEFT_OUT: Final = {
    "cluster": "it needs a Kubernetes cluster with ./build.sh's images; tests/cluster runs the same there",
    "sites": "it needs a cloud's Kafka beside the site's; tests/kafka/test_sites.py runs the same",
    "postgres": "it needs a PostgreSQL server that is empty; tests/backend runs on one",
    "long": "it makes the environment, trains for long or runs every test; ./test.sh and the demo's own tests do it",
    "another": "it unpacks another architecture's Python; tests/unit/test_machines.py makes the same digests here",
    "walked": "tests/docs/test_adding_a_strategy.py takes these steps",
    "restore": "it stops the platform; tests/kafka/test_older_copy.py restores a broker",
}
"""The other set-ups: why their commands are read only."""

PAGES: Final[dict[str, str]] = {
    "README.md": PLATFORM,
    "CONTRIBUTING.md": "long",
    "docs/README.md": PLATFORM,
    "docs/access.md": PLATFORM,
    "docs/audit.md": PLATFORM,
    "docs/convergence.md": "long",
    "docs/encodings.md": PLATFORM,
    "docs/forests.md": PLATFORM,
    "docs/glossary.md": PLATFORM,
    "docs/inference.md": PLATFORM,
    "docs/job-by-hand.md": PLATFORM,
    "docs/kafka-ml.md": PLATFORM,
    "docs/keras.md": PLATFORM,
    "docs/kubernetes-jobs.md": "cluster",
    "docs/kubernetes.md": "cluster",
    "docs/layers.md": "long",
    "docs/lineage.md": PLATFORM,
    "docs/modes.md": PLATFORM,
    "docs/operations.md": "cluster",
    "docs/operator.md": "cluster",
    "docs/personal.md": PLATFORM,
    "docs/protocol.md": PLATFORM,
    "docs/rest.md": PLATFORM,
    "docs/robust.md": "long",
    "docs/security.md": PLATFORM,
    "docs/sites.md": "sites",
    "docs/strategies.md": PLATFORM,
    "docs/streams.md": PLATFORM,
    "docs/troubleshooting.md": PLATFORM,
    "docs/ui.md": PLATFORM,
    "docs/values.md": PLATFORM,
}

BLOCKS: Final[dict[tuple[str, str], str]] = {
    ("README.md", "./run.sh --demo     # real Kafka"): "long",
    ("README.md", ".venv/bin/mainstem demo                 # the whole"): "long",
    ("README.md", "./build.sh "): "cluster",
    ("CONTRIBUTING.md", '"""The mean around the median'): "walked",
    ("CONTRIBUTING.md", "# ---------------------------------------------------------------- mean_around"): "walked",
    ("docs/lineage.md", ".venv/bin/mainstem witness accept"): "restore",
    ("docs/lineage.md", "tools/another_machine.sh"): "another",
    ("docs/operations.md", ".venv/bin/python -c 'import sqlite3"): PLATFORM,
    ("docs/operations.md", "DATABASE_URL=postgres"): "postgres",
    ("docs/operations.md", "kill -INT ..."): "restore",
}
"""Blocks of another set-up than their page's, by the beginning of their first line."""

PLACEHOLDERS: Final = {"<federation>": "ddy6heod", "<id>": "ddy6heod"}
"""What a page leaves for people to put in."""

SHELL: Final = ("bash", "sh")
SHOWN: Final = ("", "diff", "json", "properties", "yaml")
"""Languages of what is shown, not typed: tables, answers, files."""


def setup_of(block: Block) -> str:
    """Its set-up; raises KeyError for a page, or a language, that nobody has classified."""
    page = PAGES[block.page]
    if block.language in SHOWN:
        return OUTPUT
    named = [setup for (of, first), setup in BLOCKS.items() if of == block.page and block.first.startswith(first)]
    if named:
        return named[0]
    if block.language == "python":
        return PROGRAM
    if block.language not in SHELL:
        raise KeyError(f"{block}: language {block.language!r}")
    return page
