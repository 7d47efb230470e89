"""Finished versions as files and as predictions."""
