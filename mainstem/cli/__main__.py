"""`python -m mainstem.cli`, the same as the command `mainstem`."""

import sys

from mainstem.cli.main import main

sys.exit(main())
