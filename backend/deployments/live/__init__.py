"""What happens in a run, as it happens: events, the hub, the stream to browsers."""
