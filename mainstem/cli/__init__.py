"""The command `mainstem`."""
