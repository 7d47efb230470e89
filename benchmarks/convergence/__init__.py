"""Accuracy by round of every strategy and encoding on real digits, beside Flower's."""
