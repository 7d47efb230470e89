"""The training Job: settings, session, loop."""
