"""A client that trains nothing; it tells when it had the model (wall seconds)."""

import time

from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    """The model itself."""
    metrics = MetricRecord({"num-examples": 1, "seen": time.time()})
    return Message(RecordDict({"arrays": message.content["arrays"], "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message, context):
    """Nothing but the time."""
    return Message(
        RecordDict({"metrics": MetricRecord({"num-examples": 1, "seen": time.time()})}),
        reply_to=message,
    )
