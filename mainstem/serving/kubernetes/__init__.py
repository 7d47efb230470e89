"""Replicas as manifests of Kubernetes."""
