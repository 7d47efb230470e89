"""The form that deploys a version."""

from __future__ import annotations

import json
from typing import Any

from backend.deployments.models import Deployment
from backend.inference import services
from backend.site.forms import Form, area, choice, number, text
from mainstem.serving.spec import AT_LEAST_ONCE, EXACTLY_ONCE, OUTPUTS, VALUES
from mainstem.streams.codecs import FORMATS

HOW = {"answers": OUTPUTS, "delivery": EXACTLY_ONCE}


class InferenceForm(Form):
    """What a version is deployed with. It is always bound: at first to its defaults."""

    name = text("Name", "1 to 40 characters a-z, 0-9 and '-'; also its consumer group's.", required=True, maxlength=40)
    replicas = number("Replicas", "Each holds the model and some 0.5 GB of memory.", required=True, inputmode="numeric")
    input_topic = text("Input topic", "Made if it is missing. Replicas begin with its first record.", required=True)
    output_topic = text("Output topic", "Made if it is missing.", required=True)
    partitions = number(
        "Partitions of a new topic", "At most so many replicas have work.", required=True, inputmode="numeric"
    )
    input_format = choice("Format", [(name, name) for name in FORMATS], "Of the input topic's values.")
    input_config = area(
        "Format's settings", "JSON: data_type and data_reshape, or data_scheme, as for streams.", required=True, rows=3
    )

    answers = choice(
        "Answers",
        [(OUTPUTS, '{"outputs": …}, or {"error": …}'), (VALUES, '{"values": …}, as Kafka-ML writes them')],
        "In Kafka-ML's form a record that is refused has no answer.",
    )
    delivery = choice(
        "Each answer comes",
        [(EXACTLY_ONCE, "exactly once"), (AT_LEAST_ONCE, "at least once, without transactions")],
        "Old clients, such as Kafka-ML's kafka-python 2.0.2, take the ends of transactions for messages of 6 bytes.",
    )

    @staticmethod
    def defaults(deployment: Deployment, version: int) -> dict[str, Any]:
        """What the form shows at first."""
        plain = services.defaults(deployment, version)
        config = json.dumps(plain["input_config"])
        return {**plain, "replicas": 1, "partitions": 4, "input_format": "RAW", "input_config": config, **HOW}

    def body(self, federation: str, version: int) -> dict[str, Any]:
        """What REST would be sent."""
        return {"federation": federation, "version": version, **self.typed()}
