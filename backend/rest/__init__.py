"""What every answer of the REST API has in common."""
