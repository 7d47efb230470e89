"""Data sources: the streams that sites have announced."""
