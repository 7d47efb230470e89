"""Flower's side of the comparison: run by Flower's own interpreter, which has no Mainstem."""
