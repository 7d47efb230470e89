"""What a replica that answers with a version is told."""
