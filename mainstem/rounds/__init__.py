"""The server's state machine of rounds: `machine` decides, over the `events` and effects."""

from mainstem.rounds.events import (
    Append,
    Check,
    Checked,
    Close,
    Commanded,
    Effect,
    Event,
    Followed,
    Plan,
    Reduced,
    Reject,
    Seen,
    Unreducible,
)
from mainstem.rounds.machine import RoundMachine
from mainstem.rounds.making import successor, weighted
from mainstem.rounds.timing import RoundTime

__all__ = [
    "Append",
    "Check",
    "Checked",
    "Close",
    "Commanded",
    "Effect",
    "Event",
    "Followed",
    "Plan",
    "Reduced",
    "Reject",
    "RoundMachine",
    "RoundTime",
    "Seen",
    "Unreducible",
    "successor",
    "weighted",
]
