"""Readers of users' files, each in bounded memory: .npz, CSV, MNIST IDX, CIFAR-10 binary."""

from __future__ import annotations

from inject_scripts.readers.cifar import cifar10_source
from inject_scripts.readers.csv_table import Reading, csv_source
from inject_scripts.readers.idx import idx_source
from inject_scripts.readers.meaning import Making
from inject_scripts.readers.npz import npz_source
from inject_scripts.readers.source import DataSet, Row

__all__ = ["DataSet", "Making", "Reading", "Row", "cifar10_source", "csv_source", "idx_source", "npz_source"]
