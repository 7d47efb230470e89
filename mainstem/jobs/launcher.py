"""What the platform asks of whoever runs its training Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mainstem.jobs.spec import JobSpec


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A Job as its launcher sees it. `state`: pending, running, succeeded, failed, interrupted, absent.

    An interrupted one was asked to end and did, which is no failure. `detail` says in a sentence what a pending one
    waits for, and how a failed one ended.
    """

    name: str
    state: str
    exit_code: int | None = None
    detail: str = ""


class Launcher(Protocol):
    """Runs training Jobs: Kubernetes, or processes of this machine."""

    def refresh(self) -> None:
        """Look at all Jobs: `status` may tell what was seen by the last look."""
        ...

    def launch(self, name: str, spec: JobSpec, job: Mapping[str, Any] | None = None) -> None:
        """Start the Job unless one of that name runs already; raises LaunchRefused where that may work later.

        `job` are the deployment's own `JobSettings` for a cluster; they mean nothing to processes.
        """
        ...

    def status(self, name: str) -> JobStatus:
        """What has become of it."""
        ...

    def stop(self, name: str) -> None:
        """End the Job and forget it; does nothing where there is none."""
        ...

    def log(self, name: str, tail: int = 65536) -> str:
        """The last `tail` bytes of its output."""
        ...
