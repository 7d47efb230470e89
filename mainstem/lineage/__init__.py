"""A run read back from its log: every version re-derived."""

from mainstem.lineage.proving import Proof, rederive, verify

__all__ = ["Proof", "rederive", "verify"]
