"""What becomes of a round's updates: five choices, one file each, and names for combinations of them.

A new choice is a file in its kind's folder and its name there; a new combination is a line in `presets`.
"""

from mainstem.aggregation.strategies.choice import MODEL, Claim, Elements, RoundFacts, Stack, Weighed
from mainstem.aggregation.strategies.presets import CHOICES, OF_NUMBERS, STRATEGIES, Own, Preset, make
from mainstem.aggregation.strategies.strategy import Strategy

__all__ = [
    "CHOICES",
    "MODEL",
    "OF_NUMBERS",
    "STRATEGIES",
    "Claim",
    "Elements",
    "Own",
    "Preset",
    "RoundFacts",
    "Stack",
    "Strategy",
    "Weighed",
    "make",
]
