"""The server's state machine of rounds: `machine` decides, over `events` and effects, in the `phases` of one table.

`openround` is what it knows under one head, `steps` the round's script.
"""

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
    events_of,
)
from mainstem.rounds.machine import RoundMachine
from mainstem.rounds.making import successor, weighted
from mainstem.rounds.openround import OpenRound
from mainstem.rounds.phases import READING, Phase
from mainstem.rounds.steps import owed, step_of
from mainstem.rounds.timing import RoundTime

__all__ = [
    "READING",
    "Append",
    "Check",
    "Checked",
    "Close",
    "Commanded",
    "Effect",
    "Event",
    "Followed",
    "OpenRound",
    "Phase",
    "Plan",
    "Reduced",
    "Reject",
    "RoundMachine",
    "RoundTime",
    "Seen",
    "Unreducible",
    "events_of",
    "owed",
    "step_of",
    "successor",
    "weighted",
]
