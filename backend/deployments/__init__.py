"""Federations, their rounds, clients and versions: what is training."""
