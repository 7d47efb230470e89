"""The training Job by the source document's name: see `federated_training.job.job`."""

import sys
from pathlib import Path

if not __package__:  # run as a file: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from federated_training.job.job import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
