"""Records of the log folded into tables."""
