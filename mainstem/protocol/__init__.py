"""What is on the wire: topics, records, the chain of versions, weights and updates, the port of the log."""
