"""Federated learning on Kafka: the protocol, the round engine, aggregation and lineage."""

import os

# Blocks go over threads already; OpenBLAS' own would take turns at one lock, and spin while they wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
