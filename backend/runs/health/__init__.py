"""How the platform is, for the overview."""
