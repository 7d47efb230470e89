"""Versions examined against the log."""
