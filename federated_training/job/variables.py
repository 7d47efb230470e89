"""Every environment variable that a training Job reads, in words: for `--help` and for docs/job-by-hand.md.

`Settings`, `logs` and `keras.runtime` read them; a test holds the names and defaults here against what those do.
"""

from __future__ import annotations

from typing import Final

from mainstem.runtime import variables
from mainstem.runtime.variables import CLOUD_PROPERTIES, DATA, LOG_LINES, PLATFORM_PUBLIC, Groups, Variable

GROUPS: Final[Groups] = {
    "Which federation, and where Kafka is": (
        Variable("FEDERATED_MODEL_ID", "the federation's id: 8 characters of a-z and 0-9"),
        Variable(
            "FEDERATED_CLIENT_ID",
            "this client's id, the same at every start: 1 to 64 of A-Z a-z 0-9 . _ -",
            otherwise="a random one, kept in MAINSTEM_HOME for this federation and stream",
        ),
        Variable(
            "FEDERATED_LOCAL_MODEL",
            "the site's own model, a .keras file or a Keras JSON, of a run with adapt partial or slice",
            otherwise="the federation's",
        ),
        Variable(
            "FEDERATED_WIDTH",
            "how much of the width of the federation's model the site's has, of a run with adapt slice: 0.5 is half",
            otherwise="all of it",
        ),
        Variable(
            "FEDERATED_STATE",
            "the directory of what this client keeps between rounds and sends to nobody: one that outlives the Job",
            otherwise="kept/ in MAINSTEM_HOME",
        ),
        Variable(
            "MAINSTEM_SITE_KEY_FILE",
            "the file of the site's private key, with which this client signs what it says",
            otherwise="it signs nothing: only runs that are open to anyone take it",
        ),
        *PLATFORM_PUBLIC,
        Variable("FEDERATED_FRAMEWORK", "tf or xgboost: what is loaded while the Job looks for its federation", "tf"),
        Variable("KML_CLOUD_BOOTSTRAP_SERVERS", "the cloud's Kafka, where the federation's topics are: host:port,..."),
        CLOUD_PROPERTIES,
        *DATA,
    ),
    "The stream": (
        Variable(
            "DATA_TOPIC",
            "the samples: exact ranges as topic:partition:start:end,... (end exclusive), or a topic's name",
        ),
        Variable("INPUT_FORMAT", "RAW, AVRO or JSON", "RAW"),
        Variable("INPUT_CONFIG", "how a record becomes a sample: a JSON object (docs/streams.md)"),
        Variable("VALIDATION_RATE", "the part kept for validation: from 0 up to, not including, 1", "0.1"),
        Variable("TEST_RATE", "the part kept for the final evaluation, likewise; both together below 1", "0.0"),
        Variable(
            "TOTAL_MSG", "of a topic's name: so many records from its beginning, waited for", otherwise="what is there"
        ),
        Variable("INCREMENTAL", "true: records that come while it trains belong to the stream", "false"),
        Variable("UNSUPERVISED_TOPIC", "accepted; samples without labels are not trained on", otherwise="none"),
        Variable(
            "DATA_TOPIC_IDS",
            "the ids that Kafka gave the topics, as topic=id,...: a topic that was made again is then refused",
            otherwise="not compared",
        ),
        Variable("CASE", "Kafka-ML's kind of training; only 1 is a kind here (docs/kafka-ml.md)", "1"),
    ),
    "This process": (
        Variable("MAINSTEM_TRAINING_THREADS", "above 1 trains faster, on some machines with other bits", "1"),
        Variable(
            "MAINSTEM_TRAINING_PATIENCE",
            "seconds to wait for the federation, for the stream's records, and for a Kafka that is away",
            "1800",
        ),
        Variable(
            "MAINSTEM_HOME",
            "a directory for logs/training.log, client ids and what a client keeps",
            otherwise="no log file; the others in .mainstem of the working directory",
        ),
        *LOG_LINES,
        Variable("KERAS_BACKEND", "tensorflow, jax or torch, where it is installed", "tensorflow"),
        Variable("CUDA_VISIBLE_DEVICES", "the GPUs that may be used, such as 0", "-1"),
        Variable("TF_CPP_MIN_LOG_LEVEL", "how little TensorFlow says: 0 all, 3 errors only", "3"),
    ),
}


def help_text() -> str:
    """All of them, for a terminal."""
    return variables.help_text(GROUPS)


def table() -> str:
    """All of them, as the tables of docs/job-by-hand.md."""
    return variables.table(GROUPS)
