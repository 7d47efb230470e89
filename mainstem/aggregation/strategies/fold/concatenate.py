"""Trees beside one another: bagging of boosted trees, as FedXgbBagging of Flower and NVFlare has it; see
`aggregation.growing`."""

from __future__ import annotations

from typing import ClassVar

from mainstem.aggregation.strategies.choice import Fold
from mainstem.protocol.encodings import RAW
from mainstem.protocol.messages import Rules


class Concatenate(Fold):
    """Rows behind rows; it folds no numbers."""

    name: ClassVar[str] = "concatenate"
    summary: ClassVar[str] = "All trees behind those of the last version, each leaf times its client's share (forests)."
    grows: ClassVar[bool] = True
    goes_with: ClassVar = {
        "weigh": ("examples", "equal"),
        "bound": ("none",),
        "server": ("replace",),
        "client": ("plain",),
    }
    because: ClassVar[str] = "trees are put beside one another, and no number of them is folded with another"

    def refusal(self, rules: Rules) -> str:
        """A late tree corrects the errors of another forest; an encoding makes other trees of them."""
        if rules.mode != "sync":
            return (
                f"mode must be sync: a tree corrects the forest that it was grown on, mode {rules.mode} takes late ones"
            )
        for field, choice in (("encoding_up", rules.encoding_up), ("encoding_down", rules.encoding_down)):
            if choice.name != RAW:
                return f"{field}.name must be {RAW}: {choice.name} encodes changes of numbers, and trees are none"
        return ""
