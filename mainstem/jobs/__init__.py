"""What a training Job is told, and the port of whoever runs it."""
