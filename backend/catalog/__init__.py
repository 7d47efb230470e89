"""Models and configurations: what to train."""
