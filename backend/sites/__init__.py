"""Sites: who may take part in a run, by which key, and how each is enrolled."""
