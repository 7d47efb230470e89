"""Names of topics and who may bear which."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.protocol import topics


@given(st.from_regex(r"[a-z0-9]{8}", fullmatch=True))
def test_names_lead_back_to_the_federation(federation: str) -> None:
    """The three topics of a federation are distinct, named as Kafka allows, and name it."""
    specs = topics.federation_topics(federation, aggregator_partitions=3)
    assert [s.partitions for s in specs] == [1, 2, 3]
    assert len({s.name for s in specs}) == 3
    for spec in specs:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", spec.name)
        assert topics.federation_of(spec.name) == federation
        assert spec.settings["message.timestamp.type"] == "LogAppendTime"
        assert spec.settings["retention.ms"] == "-1" and spec.settings["cleanup.policy"] == "delete"
    assert re.match(topics.CONTROL_PATTERN, topics.control_topic(federation))
    assert not re.match(topics.CONTROL_PATTERN, topics.data_topic(federation))


@given(st.text(max_size=70))
def test_other_ids_are_refused(text: str) -> None:
    """Whatever is no id raises ConfigError, newline at the end included."""
    for check, pattern in (
        (topics.check_federation_id, r"[a-z0-9]{8}"),
        (topics.check_client_id, r"[A-Za-z0-9._-]{1,64}"),
    ):
        for value in (text, text + "\n"):
            if re.fullmatch(pattern, value):
                assert check(value) == value
            else:
                with pytest.raises(ConfigError):
                    check(value)
    topics.federation_of(text)


@pytest.mark.parametrize(
    "name", ["", "FED-", "FED-abc-x", "FED-ABCDEFGH-model_control_topic", "fed-abcdefgh-x", "FED-abcdefgh", "x" * 300]
)
def test_foreign_topics_belong_to_no_federation(name: str) -> None:
    """A topic of others is not taken for one of ours."""
    assert topics.federation_of(name) is None


def test_new_ids() -> None:
    """Fresh ids are ids, and do not repeat."""
    ids = {topics.new_federation_id() for _ in range(200)}
    assert len(ids) == 200 and all(topics.check_federation_id(i) == i for i in ids)


def test_shared_topics() -> None:
    """The announcements are compacted, the data streams' announcements are kept."""
    (announcements,) = topics.shared_topics()
    assert (announcements.name, announcements.partitions) == ("FEDERATED_MODEL_CONTROL_TOPIC", 12)
    assert announcements.settings["cleanup.policy"] == "compact"
    streams = topics.data_control_spec()
    assert (streams.name, streams.partitions) == ("FEDERATED_DATA_CONTROL_TOPIC", 1)
    assert streams.settings["retention.ms"] == "-1"
