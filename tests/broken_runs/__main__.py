"""`python -m tests.broken_runs`: runs broken in thirty ways on a real platform, and what is said of each, as a table.

Starts `mainstem up` once, breaks run after run through the ways that are open to everybody (REST, Kafka, the injection
scripts, Jobs started by hand), and waits for the sentence that the API has about it: in the refusal of what was
created, on the deployment, in its results, on its stream. A row without a sentence says so. The exit code is 1 where a
row is not as it should be: nothing said of a broken run, or a good one that does not train.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.broken_runs import clients, settings, streams
from tests.broken_runs.case import CASES, Case, Run
from tests.broken_runs.ground import Ground, Refused
from tests.broken_runs.watch import Seen, watch
from tests.browser.platform import Platform

MODULES = [module.__name__ for module in (settings, streams, clients)]
"""Of the cases, in the order of the table."""

HEADING = """\
| | what was done | what it should be | where it was said | the sentence | the run then |
|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Row:
    """A case and what came of it."""

    case: Case
    seen: Seen
    run: Run

    @property
    def good(self) -> bool:
        """Whether that is what should come of it. What only a Job's end tells is said nowhere that people look."""
        if self.run.wrong:
            return False
        said = self.case.is_said(self.seen.sentence) and not self.seen.where.startswith("only ")
        trained = self.seen.state == "finished"
        return trained if self.case.says is None else said or (self.case.may_train and trained)

    def __str__(self) -> str:
        seen, run = self.seen, self.run
        title = f"{self.case.title} ({run.note})" if run.note else self.case.title
        sentence = run.wrong or seen.sentence or ("" if self.good else "**no sentence**")
        then = f"{seen.state}, {seen.seconds:.0f} s"
        cells = ["" if self.good else "✗", title, self.case.wanted, seen.where, sentence, then]
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def perform(ground: Ground, case: Case, seconds: float) -> Row:
    """Break a run and watch it; whatever goes wrong with the case itself is its row."""
    begin = time.monotonic()
    run = Run("")

    def at_once(where: str, sentence: str, state: str) -> Row:
        return Row(case, Seen(where, sentence, state, time.monotonic() - begin), run)

    try:
        run = case.breaks(ground)
        return Row(case, watch(ground, run, case, seconds), run) if run.federation else at_once("", "", "taken")
    except Refused as refusal:
        return at_once(refusal.where, refusal.sentence, "not made")
    except Exception as error:
        return at_once("", "", f"the case broke: {error!r:.500}")
    finally:
        for process in run.processes:
            process.kill()
            process.wait()
        if run.federation:
            ground.platform.ask("POST", f"deployments/{run.federation}/stop/")


def main() -> int:
    """Run the cases that were asked for; print the table."""
    known = sorted(CASES, key=lambda case: MODULES.index(case.breaks.__module__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], choices=[case.name for case in known], metavar="CASE")
    parser.add_argument("--list", action="store_true", help="name the cases, and do nothing")
    parser.add_argument("--seconds", type=float, default=90, help="to wait for each sentence (default: %(default)g)")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time (default: %(default)s)")
    options = parser.parse_args()
    cases = [case for case in known if not options.only or case.name in options.only]
    if options.list:
        print("\n".join(f"{case.name:28} {case.title}" for case in cases))
        return 0
    with tempfile.TemporaryDirectory(prefix="mainstem-broken-") as directory:
        platform = Platform(Path(directory) / "home")
        try:
            rows = _table(Ground(platform), cases, options.seconds, options.at_once)
        finally:
            platform.close()
    good = sum(row.good for row in rows)
    print(f"\n{good} of {len(rows)} rows are as they should be.")
    return 0 if good == len(rows) else 1


def _table(ground: Ground, cases: list[Case], seconds: float, at_once: int) -> list[Row]:
    """Every case's row, printed in their order as they come."""
    print(HEADING, flush=True)
    rows: list[Row] = []
    with ThreadPoolExecutor(at_once) as pool:
        for row in pool.map(lambda case: perform(ground, case, seconds), cases):
            rows.append(row)
            print(row, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
