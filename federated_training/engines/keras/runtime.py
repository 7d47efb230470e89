"""Settings that TensorFlow and Keras read when they are imported; call `prepare` before the first import.

One place for both users of Keras, the workshop and the Job, so that both compute the same bytes.
"""

from __future__ import annotations

import importlib
import os
import threading
from pathlib import Path


def environment(scratch: Path) -> dict[str, str]:
    """The variables: the processor only, no kernels whose bits depend on the machine, no user settings, quiet."""
    return {
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
        # A user's ~/.keras/keras.json could change dtypes and formats.
        "KERAS_HOME": str(scratch / ".keras"),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1"),
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "GRPC_VERBOSITY": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }


def preload() -> threading.Thread:
    """Start importing Keras, which takes seconds, in a thread; join it before the first use.

    File descriptor 2 leads nowhere meanwhile: log to a duplicate of it.
    """
    thread = threading.Thread(target=_import_quietly, daemon=True)
    thread.start()
    return thread


def _import_quietly() -> None:
    # TensorFlow's libraries talk about absent GPUs before any setting of theirs can hush them.
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module("keras")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def prepare(scratch: Path) -> None:
    """Set the variables for this process. `scratch` is a directory that may be written."""
    os.environ.update(environment(scratch))
