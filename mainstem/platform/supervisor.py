"""Start children in order, watch them, bring back what dies or hangs, stop all in reverse order.

Nothing that the supervisor does for people (what it says, logs, writes down) and no child that cannot be started ends
it: a full disk or a closed terminal would otherwise take down what still works.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from mainstem.errors import MainstemError
from mainstem.platform.children import Child
from mainstem.runtime import disk
from mainstem.runtime.backoff import pause

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a child that died is started again
STEADY = 60.0  # a child that ran this long is well again: its next death is its first
STOP_SECONDS = 25.0  # the launcher gives its Jobs 15 s to end
HANG_SECONDS = 60.0  # a child that has given signs of life and gives none for so long hangs
SLOW_SECONDS = 600.0  # the same before its first one: a start takes minutes on a machine that does fifty other things
STRIDE = 1.0  # what one look adds to a child's silence at most: a supervisor that was frozen itself blames nobody

Say = Callable[[str], None]

log = logging.getLogger(__name__)


class PlatformError(MainstemError):
    """The platform could not be started; the message says which part and why."""


@dataclass(slots=True)
class _State:
    child: Child
    started: float = 0.0
    deaths: int = 0
    due: float | None = None  # when to start it again; None while it runs
    silent: float = 0.0  # seconds without a sign of life
    heard: bool = False  # since its start


def explain(code: int) -> str:
    """A process's exit code in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


class Supervisor:
    """The children in starting order. All methods belong to the main thread (see `Child.start`)."""

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic, hang: float = HANG_SECONDS) -> None:
        self._say = say
        self.clock, self.hang = clock, hang
        self.changed: Callable[[], None] = lambda: None
        self._states: list[_State] = []
        self._looked = clock()

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Tell people and the log, as far as these take it."""
        log.log(level, text)
        quietly("saying it", lambda: self._say(text))

    def start(self, child: Child) -> None:
        """Start one more child; from here on it is watched."""
        self._states.append(_State(child, started=self.clock()))  # first: a signal may come in the middle of a start
        child.start()
        quietly("telling of the change", self.changed)

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        return {state.child.name: pid for state in self._states if (pid := state.child.pid) is not None}

    def check_alive(self) -> None:
        """While starting up a death is final; raises PlatformError with the reason."""
        for state in self._states:
            code = state.child.exit_code()
            if code is not None:
                name = state.child.name
                raise PlatformError(f"{name} {explain(code)} while starting: {_last_words(state.child)}")

    def tick(self) -> None:
        """Look after every child once: notice deaths and silence, and start again what is due."""
        passed, self._looked = min(self.clock() - self._looked, STRIDE), self.clock()
        for state in self._states:
            if state.due is not None:
                if self.clock() >= state.due:
                    self._revive(state)
            elif (code := state.child.exit_code()) is not None:
                self._died(state, code)
            else:
                self._listen(state, passed)

    def _listen(self, state: _State, passed: float) -> None:
        """A child that hangs is killed; its death then is like any other: every part is made to be killed."""
        if state.child.heard():
            state.silent, state.heard = 0.0, True
            return
        state.silent += passed
        if state.silent < (self.hang if state.heard else max(SLOW_SECONDS, self.hang)):
            return
        silent, state.silent = state.silent, 0.0
        self.say(f"{state.child.name} hangs: no sign of life for {silent:.0f} s. It is killed.", logging.WARNING)
        state.child.kill()

    def _died(self, state: _State, code: int) -> None:
        if self.clock() - state.started >= STEADY:
            state.deaths = 0
        wait = self._back_off(state)
        words = _last_words(state.child)
        self.say(f"{state.child.name} {explain(code)}; starting it again in {wait:g} s. {words}", logging.WARNING)
        quietly("telling of the change", self.changed)

    def _revive(self, state: _State) -> None:
        try:
            state.child.start()
        except Exception as error:  # whatever it is, the others go on and it is tried again
            if not isinstance(error, MainstemError | OSError):
                log.exception("%s could not be started again", state.child.name)
            why, wait = disk.no_room(error) or str(error), self._back_off(state)
            text = f"{state.child.name} could not be started again: {why}; next try in {wait:g} s"
            self.say(text, logging.WARNING)
            return
        state.started, state.due, state.silent, state.heard = self.clock(), None, 0.0, False
        self.say(f"{state.child.name} runs again")
        quietly("telling of the change", self.changed)

    def _back_off(self, state: _State) -> float:
        state.deaths += 1
        wait = pause(state.deaths, FIRST_PAUSE, LONGEST_PAUSE)
        state.due = self.clock() + wait
        return wait

    def stop(self) -> None:
        """Stop all, the last started first; goes on whatever happens."""
        for state in reversed(self._states):
            try:
                state.child.stop(STOP_SECONDS)
            except Exception:
                log.exception("stopping %s failed", state.child.name)
        self._states.clear()
        quietly("telling of the end", self.changed)


def quietly(what: str, do: Callable[[], object]) -> bool:
    """Do what is for people only; False where a disk or a terminal did not take it, which is the log's matter."""
    try:
        do()
    except Exception as error:
        log.warning("%s failed: %s", what, disk.no_room(error) or error)
        return False
    return True


def _last_words(child: Child) -> str:
    try:
        return child.last_words()
    except Exception as error:
        return f"What it said last cannot be read: {disk.no_room(error) or error}"
