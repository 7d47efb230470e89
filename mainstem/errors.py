"""Every error that Mainstem raises on purpose. A message is one sentence for a person."""

from __future__ import annotations


class MainstemError(Exception):
    """Root of all errors that Mainstem raises on purpose."""


class ConfigError(MainstemError):
    """A setting, environment variable or argument is missing or wrong; the message names it."""


class DecodeError(MainstemError):
    """Bytes from a peer, a stream or a file are not what they claim to be."""


class ProtocolError(MainstemError):
    """An event that the state machine does not allow in its present state; nothing was changed."""


class RefusedError(MainstemError):
    """An update that will not be counted. `reason` is one of `messages.Reason`, the text says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class AggregationError(MainstemError):
    """The accepted updates cannot be reduced to a new global model."""


class LogError(MainstemError):
    """The message log (Kafka) did not do what was asked; the outcome may be unknown."""


class UnreadableError(LogError):
    """Records that a manifest or a commit names can no longer be read whole."""


OLDER = "Kafka was restored from an older copy, or the topic was made anew"
"""What it means that a log does not hold what was read from it."""


class SpillError(LogError):
    """What is needed later cannot be set aside on disk, or not be read back; the message says the way out."""


class UnknownTopicError(UnreadableError):
    """Kafka answers, and has no topic of that name."""


class SilentError(MainstemError):
    """Kafka did not answer for as long as it was waited for; it may the next time."""


class LaunchRefused(MainstemError):
    """A Job cannot be started now (a quota, an admission rule, a server that is away); it may be possible later."""


class BrokerError(MainstemError):
    """The embedded broker could not be prepared, started or stopped."""
