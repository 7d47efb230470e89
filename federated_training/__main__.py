"""`python -m federated_training`: the training Job."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a folder: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from federated_training.job.job import main

sys.exit(main())
