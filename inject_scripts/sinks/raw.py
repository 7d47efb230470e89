"""What the four RAW sinks share: INPUT_CONFIG from arguments or from the first sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from inject_scripts.sinks.sink import KafkaMLSink
from mainstem.streams.codecs import Codec, codec_for


class RawFormat(KafkaMLSink):
    """A sink whose records are the bytes of arrays: the data in the value, the label in the key.

    What `data_type`, `label_type`, `data_reshape` and `label_reshape` leave open is taken from the
    first sample. A sample that would not decode raises DecodeError here, instead of being refused later.
    """

    data_type: str | None
    label_type: str | None
    data_reshape: str | None
    label_reshape: str | None
    _codec: Codec | None

    def _configure(
        self, data_type: str | None, label_type: str | None, data_reshape: str | None, label_reshape: str | None
    ) -> None:
        self.data_type, self.label_type = data_type, label_type
        self.data_reshape, self.label_reshape = data_reshape, label_reshape
        self.input_config = {
            "data_type": data_type,
            "label_type": label_type,
            "data_reshape": data_reshape,
            "label_reshape": label_reshape,
        }
        self._codec = None

    def _describe(self, data: Any, label: Any) -> None:
        """Complete INPUT_CONFIG from a sample; what is set already stays."""
        self._configure(
            self.data_type or self.type_to_string(data),
            self.label_type or self.type_to_string(label),
            self.data_reshape if self.data_reshape is not None else self.shape_to_string(data),
            self.label_reshape if self.label_reshape is not None else self.shape_to_string(label),
        )

    def send(self, data: Any, label: Any) -> None:
        """Queue a sample: value `data.tobytes()`, key `label.tobytes()`."""
        if self._codec is None:
            self._describe(data, label)
            self._codec = codec_for("RAW", self.input_config)
        value, key = _raw(data), _raw(label)
        self._codec.decode(key, value)
        super().send(value, key)

    def unsupervised_send(self, data: Any) -> None:
        """Queue data without a label for the unsupervised topic."""
        super().unsupervised_send(_raw(data))


def _raw(array: Any) -> bytes:
    """The array's bytes in C order, little-endian."""
    values = np.asarray(array)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
