"""The whole platform on one machine: what `mainstem up` starts, watches and stops."""
