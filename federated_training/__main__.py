"""`python -m federated_training`: the training Job."""

from __future__ import annotations

import sys

from federated_training.federated_training import main

sys.exit(main())
