"""What a head's rules say, made ready to ask: mode, strategy and selection together."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem import modes, selection, strategies
from mainstem.chain import Head
from mainstem.messages import Base, Strategy


@dataclass(frozen=True, slots=True)
class Policy:
    """One head's policy. `chooser` is None where a round asks everyone."""

    mode: modes.Mode
    strategy: strategies.Strategy
    chooser: selection.Chooser | None

    @staticmethod
    def of(head: Head, strategy: Strategy | None = None) -> Policy:
        """The policy under `head`, perhaps with another strategy; raises ConfigError for what is not known here."""
        chosen = strategy or head.opened.strategy
        return Policy(
            modes.make(head.rules),
            strategies.make(chosen.name, chosen.params),
            selection.make(head.rules.selection),
        )

    def coefficient(self, head: Head, base: Base, examples: int) -> float:
        """The weight in the sum of an update from `base` under `head`; raises RefusedError where it does not count."""
        return self.strategy.coefficient(examples) * self.mode.discount(self.mode.admit(head, base))
