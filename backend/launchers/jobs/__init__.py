"""Training Jobs: which stream trains for which federation, and their next steps."""
