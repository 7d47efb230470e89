"""The training Job (`python -m federated_training`) and the workshop that builds and checks models for the backend."""
