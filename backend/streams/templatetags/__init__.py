"""Template tags of the data sources."""
