"""Curves, grids and the flight recorder's tape."""
