"""Keras: models from their configuration, training, metrics, state."""
