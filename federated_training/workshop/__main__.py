"""`python -m federated_training.workshop`."""

import sys

from federated_training.workshop.workshop import main

sys.exit(main(sys.argv[1:]))
