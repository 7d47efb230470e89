"""The source document's name for `federated_training.data.decoders`."""

from federated_training.data.decoders import Decoder, check_data, must_have_samples

__all__ = ["Decoder", "check_data", "must_have_samples"]
