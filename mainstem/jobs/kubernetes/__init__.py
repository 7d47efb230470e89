"""A Job as a manifest of Kubernetes."""
