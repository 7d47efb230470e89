"""Pages of the Jobs, and of the streams that they train on."""
