"""A sample of the data that fits a federation, to try a version with."""

from __future__ import annotations

import random
from typing import Any

from backend.deployments.log import kafka
from backend.deployments.models import Deployment
from backend.streams.models import DataSource
from backend.streams.samples import label_text, pieces
from mainstem.errors import DecodeError, MainstemError
from mainstem.streams.announcement import misfit
from mainstem.streams.codecs import codec_for

MOST_SOURCES = 20
"""So many of the newest streams are looked at."""


def random_sample(deployment: Deployment) -> dict[str, Any] | None:
    """A record of a stream that fits, any: `values` nested as the model takes them, its `label`, and where it is from.

    None where there is none that can be read.
    """
    sources = [source for source in DataSource.objects.order_by("-id")[:MOST_SOURCES] if _fits(source, deployment)]
    random.shuffle(sources)
    for source in sources:
        try:
            found = _sample(source)
        except MainstemError:
            continue
        if found is not None:
            return found
    return None


def _fits(source: DataSource, deployment: Deployment) -> bool:
    try:
        return misfit(source.announcement, deployment.announcement) is None
    except MainstemError:
        return False


def _sample(source: DataSource) -> dict[str, Any] | None:
    log = kafka.stream_log()
    places = list(pieces(log, source.announcement.ranges))
    if not places:
        return None
    topic, partition, start, end = random.choices(places, [end - start for _, _, start, end in places])[0]
    offset = random.randrange(start, end)
    record = next(iter(log.read(topic, partition, offset, offset + 1)), None)
    if record is None or record.value is None:
        return None
    try:
        x, y = codec_for(source.input_format, source.input_config).decode(record.key, record.value)
    except DecodeError:
        return None
    return {"values": x.tolist(), "label": label_text(y), "place": f"{topic}:{partition}:{offset}"}
