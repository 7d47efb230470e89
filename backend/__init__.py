"""Mainstem's backend: Django pages and REST API over catalog, federations, streams and Jobs."""
