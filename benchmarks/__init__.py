"""What README's figures come from: one command each, a table and JSON out."""

import mainstem  # noqa: F401 (before NumPy: it says how many threads OpenBLAS has)
