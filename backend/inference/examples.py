"""Programs to copy that ask a deployed version and read its answers. Pure."""

from __future__ import annotations

import json
import math

from backend.inference.models import Inference


def producer(inference: Inference, servers: str) -> str:
    """A program that writes one record to the input topic."""
    return (
        f"from confluent_kafka import Producer\n{_imports(inference)}\n"
        f'producer = Producer({{"bootstrap.servers": "{servers}"}})\n'
        f"{_value(inference)}"
        f'producer.produce("{inference.input_topic}", value, key=b"my-id", headers=[("trace", b"1")])\n'
        "producer.flush()"
    )


def consumer(inference: Inference, servers: str) -> str:
    """A program that reads the answers, each once."""
    return (
        "from confluent_kafka import Consumer\n\n"
        f'consumer = Consumer({{"bootstrap.servers": "{servers}", "group.id": "my-group",\n'
        '                     "isolation.level": "read_committed", "auto.offset.reset": "earliest"})\n'
        f'consumer.subscribe(["{inference.output_topic}"])\n'
        "while True:\n"
        "    message = consumer.poll(1.0)\n"
        "    if message is not None and message.error() is None:\n"
        "        print(message.key(), message.headers(), message.value())"
    )


def console(inference: Inference, servers: str) -> str:
    """The answers in a terminal, with Kafka's own tool."""
    return (
        f"kafka-console-consumer --bootstrap-server {servers} --topic {inference.output_topic} --from-beginning \\\n"
        "  --isolation-level read_committed --property print.key=true --property print.headers=true"
    )


def _imports(inference: Inference) -> str:
    return {"RAW": "import numpy as np\n", "JSON": "import json\n"}.get(
        inference.input_format, "import io\nimport json\nimport fastavro\n"
    )


def _value(inference: Inference) -> str:
    config = inference.input_config
    if inference.input_format == "RAW":
        shape = ", ".join(str(config.get("data_reshape", "")).replace(",", " ").split())
        dtype = config.get("data_type", "float32")
        return f'sample = np.zeros(({shape},), "{dtype}")  # yours\nvalue = sample.tobytes()\n'
    if inference.input_format == "JSON" and config.get("data_scheme") is None:
        sizes = [int(part) for part in str(config.get("data_reshape", "")).split() if part.isdigit()]
        return f"value = json.dumps([0.0] * {math.prod(sizes)}).encode()  # yours\n"
    if inference.input_format == "JSON":
        return "value = json.dumps({}).encode()  # yours, as data_scheme describes it\n"
    scheme = json.dumps(config.get("data_scheme"))
    return (
        f"scheme = fastavro.parse_schema(json.loads({scheme!r}))\nbuffer = io.BytesIO()\n"
        "fastavro.schemaless_writer(buffer, scheme, {})  # yours\nvalue = buffer.getvalue()\n"
    )
