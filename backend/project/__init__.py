"""Settings, addresses, and what every answer of the backend has in common."""
