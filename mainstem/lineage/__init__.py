"""A run read back from its log: proved, asked what-if, searched for descendants, written to a file.

Nothing here writes to the log or trusts anything but it.
"""

from mainstem.lineage.descent import Descendant, recall
from mainstem.lineage.examining import Measure, VersionReport, examine
from mainstem.lineage.exporting import Exported, export
from mainstem.lineage.history import History, read_history
from mainstem.lineage.proving import Proof, verify
from mainstem.lineage.reading import RunReader
from mainstem.lineage.replaying import Difference, Replay, replay
from mainstem.lineage.runfile import RunFile

__all__ = [
    "Descendant",
    "Difference",
    "Exported",
    "History",
    "Measure",
    "Proof",
    "Replay",
    "RunFile",
    "RunReader",
    "VersionReport",
    "examine",
    "export",
    "read_history",
    "recall",
    "replay",
    "verify",
]
