"""From updates to a version: pure, block by block."""
