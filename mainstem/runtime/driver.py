"""The one driver of every state machine: events in, effects carried out in order, what they answer fed back. No I/O.

    drive(machine, Followed(head), act)      act(effect) -> the events that carrying it out came to

A machine decides in `handle`, an adapter acts in `act`, and neither calls the other: however long a chain of effects
and answers gets, the stack stays as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

Event = TypeVar("Event")
Effect = TypeVar("Effect")
Event_contra = TypeVar("Event_contra", contravariant=True)
Effect_co = TypeVar("Effect_co", covariant=True)


class Machine(Protocol[Event_contra, Effect_co]):
    """What can be driven."""

    def handle(self, event: Event_contra) -> Sequence[Effect_co]:
        """The effects of one event, in the order in which they are to be carried out."""
        ...


class EffectQueue(Generic[Event, Effect]):
    """The effects that a machine has asked for and nobody has carried out yet, the oldest first.

    `act` carries one out and says what came of it: events in order, each of which the machine digests before the next
    effect is carried out. What `act` raises leaves the effect taken and the later ones waiting.
    """

    def __init__(self, machine: Machine[Event, Effect], act: Callable[[Effect], Iterable[Event]]) -> None:
        self._machine, self._act = machine, act
        self.effects: deque[Effect] = deque()

    def feed(self, events: Iterable[Event]) -> None:
        """Let the machine digest the events; raises what the machine raises, then the later ones are not fed."""
        for event in events:
            self.effects.extend(self._machine.handle(event))

    def step(self) -> bool:
        """Carry out the next effect and feed what came of it; False where there is none."""
        if not self.effects:
            return False
        self.feed(self._act(self.effects.popleft()))
        return True


def drive(machine: Machine[Event, Effect], event: Event, act: Callable[[Effect], Iterable[Event]]) -> None:
    """Feed one event and carry out all that follows from it, to the end; raises what the machine or `act` raises."""
    queue = EffectQueue(machine, act)
    queue.feed([event])
    while queue.step():
        pass
