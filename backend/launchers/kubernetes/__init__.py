"""Jobs and replicas on a cluster."""
