"""The source document's name for `federated_training.job.config`."""

from federated_training.job.config import Settings, stored_client_id

__all__ = ["Settings", "stored_client_id"]
