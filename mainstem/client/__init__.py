"""What a client decides, without I/O."""
