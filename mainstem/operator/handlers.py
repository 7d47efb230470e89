"""kopf's handlers: one look at each resource every few seconds, and its end. What they know stands in the resource."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
from collections.abc import Callable
from typing import Any, Final

import kopf

from mainstem.errors import ConfigError
from mainstem.operator import mapping, reconcile
from mainstem.operator.reconcile import Away, Refused, Resource
from mainstem.rest import Api
from mainstem.runtime import logs
from mainstem.runtime.api_token import token_from
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.objects import counter

EVERY_SECONDS: Final = 2.0
"""Between two looks at a resource."""

AGAIN_SECONDS: Final = 10.0
"""After the API did not do what a resource's end asks for."""

ANSWER_SECONDS: Final = 20.0
"""How long the API may take to answer: a look that hangs would hold up the resource's end."""

FINALIZER: Final = "mainstem.dev/deployment"
ORPHAN: Final = "mainstem.dev/orphan"
"""Annotation: with "true" a resource goes at once, and its deployment stays as it is."""

LOOKS = counter(names.RECONCILES)


def api_from_environ() -> Api:
    """The API at MAINSTEM_API with the token of MAINSTEM_TOKEN_FILE (read anew each time) or MAINSTEM_TOKEN."""
    address = os.environ.get("MAINSTEM_API", "").strip()
    if not address:
        raise ConfigError("MAINSTEM_API is missing: give the backend's address, such as http://backend:8000")
    token = token_from(os.environ, "the token of a user with role admin")()
    return Api(address, token, timeout=ANSWER_SECONDS)


def resource_of(body: Any) -> Resource:
    """kopf's view of a resource as ours."""
    metadata = body["metadata"]
    return Resource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        created=metadata["creationTimestamp"],
        generation=int(metadata.get("generation") or 0),
        spec=dict(body.get("spec") or {}),
        status=dict(body.get("status") or {}),
    )


def registry(health: Health, connect: Callable[[], Api] = api_from_environ) -> kopf.OperatorRegistry:
    """The handlers, for `kopf.run`."""
    made = kopf.OperatorRegistry()
    where: dict[str, Any] = {"registry": made}

    @kopf.on.startup(**where)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.persistence.finalizer = FINALIZER
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="mainstem.dev")
        settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="mainstem.dev")
        settings.scanning.disabled = True  # the namespaces are given, so no right to list them is needed
        settings.posting.level = logging.CRITICAL + 1  # kopf's own events tell of handlers; ours tell of federations
        health.ready = True
        asyncio.get_running_loop().create_task(_turn(health))

    @kopf.on.login(**where)
    def login(**about: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**about) or kopf.login_with_kubeconfig(**about)

    @kopf.timer(mapping.GROUP, mapping.VERSION, mapping.PLURAL, id="look", interval=EVERY_SECONDS, **where)
    def look(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        resource = resource_of(body)
        with logs.bind(federation=resource.federation), connect() as api:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            status = reconcile.look(api, resource, now, _sayer(body))
        LOOKS.labels(_outcome(status)).inc()
        changes = {key: value for key, value in status.items() if resource.status.get(key) != value}
        changes |= {key: None for key in resource.status if key not in status}
        if changes:
            patch.status.update(changes)

    @kopf.on.delete(mapping.GROUP, mapping.VERSION, mapping.PLURAL, id="remove", backoff=AGAIN_SECONDS, **where)
    def remove(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        resource, say = resource_of(body), _sayer(body)
        if (body["metadata"].get("annotations") or {}).get(ORPHAN) == "true":
            say("Normal", "Orphaned", f"federation {resource.federation} stays as it is")
            return
        with logs.bind(federation=resource.federation):
            try:
                with connect() as api:
                    waits = reconcile.remove(api, resource, say)
            except (Refused, Away) as error:
                why = f"it cannot be deleted now: {error}; with the annotation {ORPHAN}=true the resource goes alone"
                if resource.status.get("message") != why:
                    say("Warning", "NotDeleted", why)
                    patch.status.update({"message": why})
                raise kopf.TemporaryError(why, delay=AGAIN_SECONDS) from error
            if waits is not None:
                patch.status.update({"phase": "Deleting", "message": f"waits for {waits}"})
                raise kopf.TemporaryError(f"waits for {waits}", delay=EVERY_SECONDS / 2)

    return made


async def _turn(health: Health) -> None:
    while True:
        health.turn()
        await asyncio.sleep(1)


def _sayer(body: kopf.Body) -> reconcile.Say:
    def say(kind: str, reason: str, message: str) -> None:
        kopf.event(body, type=kind, reason=reason, message=message)

    return say


def _outcome(status: dict[str, Any]) -> str:
    return next(str(known["reason"]).lower() for known in status["conditions"] if known["type"] == "Synced")
