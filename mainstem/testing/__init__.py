"""Stand-ins for the world, for tests of the core."""
