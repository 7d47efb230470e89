"""The process that is kept between questions: for whom, how long, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainstem.runtime.keeper import EndedError, Keeper, Life
from mainstem.runtime.processes import identity, start_child
from tests.support.patience import PATIENCE, until

ECHO = """
import os, sys, time
for line in sys.stdin:
    word = line.strip()
    if word == "die": os._exit(3)
    if word == "long": sys.stdout.write("x" * 300_000)
    if word == "hang": time.sleep(600)
    print(os.getpid(), word, flush=True)
"""


def start(room: Path) -> subprocess.Popen[bytes]:
    """A process that answers with its number and what it was asked."""
    command = [sys.executable, "-S", "-c", ECHO]
    return start_child(command, orphan=signal.SIGKILL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=room)


@pytest.fixture
def room(tmp_path: Path) -> Callable[[], contextlib.AbstractContextManager[Path]]:
    """Makes directories that are removed with their process."""

    @contextlib.contextmanager
    def make() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as name:
            yield Path(name)

    return make


def asked(keeper: Keeper, key: str, room: Callable[[], contextlib.AbstractContextManager[Path]], word: str) -> int:
    """The number of the process that answered."""
    with keeper.at(key, room) as kept:
        number, said = kept.ask(word.encode(), PATIENCE).decode().split()
    assert said == word
    return int(number)


def test_the_next_question_of_its_kind_meets_the_same_process(room: object, tmp_path: Path) -> None:
    """Another kind, or the end of the keeper, ends it and removes its directory."""
    keeper = Keeper(start)
    first = asked(keeper, "a", room, "one")  # type: ignore[arg-type]
    assert asked(keeper, "a", room, "two") == first  # type: ignore[arg-type]
    second = asked(keeper, "b", room, "three")  # type: ignore[arg-type]
    assert second != first and identity(first) is None and len(list(tmp_path.iterdir())) == 1
    keeper.end()
    assert identity(second) is None and not list(tmp_path.iterdir())
    keeper.end()


@pytest.mark.parametrize("life", [Life(questions=2), Life(old=0.0)])
def test_it_does_not_live_for_ever(room: object, life: Life) -> None:
    """After so many questions, and when it is old, the next one meets another process."""
    keeper = Keeper(start, life)
    numbers = [asked(keeper, "a", room, "x") for _ in range(3)]  # type: ignore[arg-type]
    assert len(set(numbers)) == (2 if life.questions == 2 else 3)
    keeper.end()


def test_an_idle_one_ends_by_itself(room: object, tmp_path: Path) -> None:
    """Its memory and its directory are given back; a question that comes then starts another."""
    keeper = Keeper(start, Life(idle=0.05))
    first = asked(keeper, "a", room, "x")  # type: ignore[arg-type]
    until(lambda: identity(first) is None and not list(tmp_path.iterdir()))
    assert asked(keeper, "a", room, "y") != first  # type: ignore[arg-type]
    keeper.end()


@pytest.mark.parametrize("word", ["die", "hang", "gone"])
def test_a_question_that_goes_wrong_ends_it(room: object, word: str) -> None:
    """Whether it dies, takes too long, or its asker has gone: the next question meets another process."""
    keeper = Keeper(start)
    first = asked(keeper, "a", room, "x")  # type: ignore[arg-type]
    with pytest.raises(EndedError if word == "die" else TimeoutError), keeper.at("a", room) as kept:  # type: ignore[arg-type]
        kept.ask(
            b"hang" if word == "gone" else word.encode(), 0.1 if word == "hang" else PATIENCE, lambda: word == "gone"
        )
    assert identity(first) is None
    assert asked(keeper, "a", room, "y") != first  # type: ignore[arg-type]
    keeper.end()


def test_long_answers_come_whole_and_askers_take_turns(room: object) -> None:
    """Threads ask at once; each gets its own answer, of one process."""
    keeper, numbers = Keeper(start), []

    def ask() -> None:
        with keeper.at("a", room) as kept:  # type: ignore[arg-type]
            answer = kept.ask(b"long", PATIENCE)
        assert len(answer) > 300_000
        numbers.append(answer[300_000:].split()[0])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(numbers) == 4 and len(set(numbers)) == 1
    keeper.end()


def test_it_dies_with_its_keeper() -> None:
    """Also where that is killed."""
    program = (
        "import contextlib, pathlib, sys, time\nfrom tests.unit.test_keeper import Keeper, asked, start\n"
        "keeper = Keeper(start)\n"
        "print(asked(keeper, 'a', lambda: contextlib.nullcontext(pathlib.Path('/')), 'x'), flush=True)\ntime.sleep(600)"
    )
    keeping = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert keeping.stdout is not None
    number = int(keeping.stdout.readline())
    assert identity(number) is not None
    keeping.kill()
    keeping.wait()
    keeping.stdout.close()
    until(lambda: identity(number) is None)
