"""A run read back from its log: proved, asked what-if, searched for descendants, written to a file.

Nothing here writes to the log or trusts anything but it.
"""

from mainstem.lineage.descent import Descendant, recall
from mainstem.lineage.examining import Examination, Measure, examine
from mainstem.lineage.exporting import Exported, export
from mainstem.lineage.history import History, read_history
from mainstem.lineage.proving import Proof, manifest_of, prove, rederive, verify
from mainstem.lineage.replaying import Difference, Replay, replay
from mainstem.lineage.runfile import RunFile

__all__ = [
    "Descendant",
    "Difference",
    "Examination",
    "Exported",
    "History",
    "Measure",
    "Proof",
    "Replay",
    "RunFile",
    "examine",
    "export",
    "manifest_of",
    "prove",
    "read_history",
    "recall",
    "rederive",
    "replay",
    "verify",
]
