"""Start children in order, watch them, bring back what dies, stop all in reverse order."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from mainstem.errors import MainstemError
from mainstem.platform.children import Child

BACKOFF_FIRST, BACKOFF_LAST = 0.5, 30.0  # seconds
STEADY = 60.0  # a child that ran this long is well again: its next death is its first
STOP_SECONDS = 25.0  # the launcher gives its Jobs 15 s to end

Say = Callable[[str], None]

log = logging.getLogger(__name__)


class PlatformError(MainstemError):
    """The platform could not be started; the message says which part and why."""


class Stopped(Exception):
    """SIGINT or SIGTERM arrived."""


@dataclass(slots=True)
class _State:
    child: Child
    started: float = 0.0
    deaths: int = 0
    due: float | None = None  # when to start it again; None while it runs


def explain(code: int) -> str:
    """A process's exit code in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


class Supervisor:
    """The children in starting order. All methods belong to the main thread (see `Child.start`)."""

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self.clock = clock
        self.changed: Callable[[], None] = lambda: None
        self._states: list[_State] = []

    def start(self, child: Child) -> None:
        """Start one more child; from here on it is watched."""
        self._states.append(_State(child, started=self.clock()))  # first: a signal may come in the middle of a start
        child.start()
        self.changed()

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        return {state.child.name: pid for state in self._states if (pid := state.child.pid) is not None}

    def check_alive(self) -> None:
        """While starting up a death is final; raises PlatformError with the reason."""
        for state in self._states:
            code = state.child.exit_code()
            if code is not None:
                name = state.child.name
                raise PlatformError(f"{name} {explain(code)} while starting: {state.child.last_words()}")

    def tick(self) -> None:
        """Look after every child once: notice deaths, and start again what is due."""
        for state in self._states:
            if state.due is None:
                code = state.child.exit_code()
                if code is not None:
                    self._died(state, code)
            elif self.clock() >= state.due:
                self._revive(state)

    def _died(self, state: _State, code: int) -> None:
        if self.clock() - state.started >= STEADY:
            state.deaths = 0
        wait = min(BACKOFF_FIRST * 2**state.deaths, BACKOFF_LAST)
        state.deaths += 1
        state.due = self.clock() + wait
        text = f"{state.child.name} {explain(code)}; starting it again in {wait:g} s. {state.child.last_words()}"
        log.warning(text)
        self.say(text)
        self.changed()

    def _revive(self, state: _State) -> None:
        try:
            state.child.start()
        except MainstemError as error:
            wait = min(BACKOFF_FIRST * 2**state.deaths, BACKOFF_LAST)
            state.deaths += 1
            state.due = self.clock() + wait
            self.say(f"{state.child.name} could not be started again: {error}; next try in {wait:g} s")
            return
        state.started, state.due = self.clock(), None
        log.info("%s runs again (process %s)", state.child.name, state.child.pid)
        self.say(f"{state.child.name} runs again")
        self.changed()

    def stop(self) -> None:
        """Stop all, the last started first; goes on whatever happens."""
        for state in reversed(self._states):
            try:
                state.child.stop(STOP_SECONDS)
            except Exception:
                log.exception("stopping %s failed", state.child.name)
        self._states.clear()
        self.changed()
