"""Jobs and replicas as processes of this machine."""
