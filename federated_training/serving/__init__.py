"""A replica of a deployed version: questions from a topic, the model's answers to another."""
