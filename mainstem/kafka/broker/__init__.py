"""A broker of our own: its jars, its Java, its storage, its process."""
