"""What a deployment would be, before it is opened."""
