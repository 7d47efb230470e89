"""Deployments and results in the REST API."""
