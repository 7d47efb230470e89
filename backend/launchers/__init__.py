"""Training Jobs: which stream trains for which federation, and the one process that runs them."""
