"""List the topics of the platform's Kafka with their partitions and records; make, read or delete one.

mainstem topics                          all of them
mainstem topics create ward-7            for samples; the protocol's own are made by Mainstem
mainstem topics read FED-ddy6heod-model_control_topic
mainstem topics delete ward-7 --yes
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mainstem.cli.output import Output
from mainstem.cli.topic_actions import add_actions
from mainstem.cli.where import kafka_config
from mainstem.errors import ConfigError
from mainstem.kafka.client.overview import topic_overviews
from mainstem.platform.home import Home
from mainstem.protocol.topics import federation_of

HELP = "list, make, read and delete Kafka's topics"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--federation", metavar="ID", help="only the topics of this federation")
    add_actions(parser)


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Print them, or do what the action says."""
    if options.action:
        return int(options.act(options, home, output))
    found = topic_overviews(kafka_config(home))
    if options.federation:
        found = [topic for topic in found if federation_of(topic.name) == options.federation]
        if not found:
            raise ConfigError(
                f"Kafka has no topic of federation {options.federation[:60]!r}: `mainstem topics` lists all"
            )
    if options.json:
        output.result([asdict(topic) for topic in found])
    else:
        rows = [(topic.name, topic.partitions, topic.records, topic.written) for topic in found]
        output.table("Topics", ("topic", "partitions", "records", "ever written"), rows)
    return 0
