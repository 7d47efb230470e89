"""kubectl and waiting, for tests on the cluster that KUBECONFIG names."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

NAMESPACE = "kafkaml"
Found = TypeVar("Found")


def kubectl(*arguments: str, given: str | None = None, timeout: float = 120) -> str:
    """What the command printed; raises AssertionError with what it complained of."""
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *arguments],
        input=given, capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout


def anywhere(*arguments: str, given: Mapping[str, Any] | None = None) -> str:
    """What kubectl printed, in the namespace that the arguments name, given one object."""
    text = None if given is None else json.dumps(given)
    return subprocess.run(["kubectl", *arguments], input=text, text=True, capture_output=True, check=True).stdout


def refusal(*arguments: str, given: str | None = None) -> str:
    """Why kubectl failed, as it must."""
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0, f"kubectl {' '.join(arguments)} was expected to fail: {done.stdout}"
    return done.stderr


def objects(kind: str, selector: str) -> list[dict[str, Any]]:
    """The objects with these labels, the oldest first."""
    items: list[dict[str, Any]] = json.loads(kubectl("get", kind, "--selector", selector, "--output", "json"))["items"]
    return sorted(items, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def pods(name: str) -> list[dict[str, Any]]:
    """The pods of one of the platform's parts."""
    return objects("pods", f"app.kubernetes.io/name={name}")


def until(what: str, look: Callable[[], Found | None], seconds: float) -> Found:
    """What `look` finds, as soon as it does; raises AssertionError with `what` when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


def ready(pod: dict[str, Any]) -> bool:
    """Whether all of its containers are, and it is not on its way out."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
