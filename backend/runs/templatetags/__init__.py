"""Filters of the deployments' pages."""
