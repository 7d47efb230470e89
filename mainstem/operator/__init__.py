"""FederatedDeployment resources of Kubernetes, kept in line with the REST API; imports no Django.

It has no memory: what it needs stands in the resource and behind the API, so it may end at any moment.
"""
