"""Kubernetes' API as the launcher uses it: the one module that imports the official client. Objects are plain JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client
from kubernetes import config as kube_config
from kubernetes.client.exceptions import ApiException

from mainstem.errors import MainstemError

SECONDS = (5, 30)
"""To connect, and between two pieces of an answer."""

PAGE = 500
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ClusterError(MainstemError):
    """The API server refused or did not answer; `status` is the HTTP status or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One namespace of one cluster. Every method may raise ClusterError. Thread-safe."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._batch, self._core, self._apps = client.BatchV1Api(api), client.CoreV1Api(api), client.AppsV1Api(api)

    @staticmethod
    def connect(namespace: str) -> Cluster:
        """As the pod's ServiceAccount, or outside a pod as KUBECONFIG says."""
        configuration = client.Configuration()
        try:
            if _TOKEN.exists():
                kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.environ.get("KUBECONFIG") or None, client_configuration=configuration
                )
        except (kube_config.ConfigException, OSError) as error:
            raise ClusterError(f"no cluster is known: {error}; run it in a pod, or set KUBECONFIG") from error
        return Cluster(client.ApiClient(configuration), namespace)

    def create_job(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The Job as created; status 409 where there is one of that name."""
        return self._json(self._batch.create_namespaced_job, self.namespace, manifest)

    def job(self, name: str) -> dict[str, Any] | None:
        """The Job of that name."""
        try:
            return self._json(self._batch.read_namespaced_job, name, self.namespace)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def delete_job(self, name: str, uid: str) -> None:
        """Delete that very Job and then its pods; does nothing where it is gone or another one has its name."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        with _gone_is_fine():
            self._json(self._batch.delete_namespaced_job, name, self.namespace, body=options)

    def annotate_job(self, name: str, uid: str, key: str, value: str) -> None:
        """Set an annotation of that very Job; does nothing where it is gone."""
        body = {"metadata": {"uid": uid, "annotations": {key: value}}}
        with _gone_is_fine():
            self._json(self._batch.patch_namespaced_job, name, self.namespace, body)

    def jobs(self, labels: str) -> Iterator[dict[str, Any]]:
        """The Jobs with these labels."""
        return self._pages(self._batch.list_namespaced_job, label_selector=labels)

    def create_deployment(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The Deployment as created; status 409 where there is one of that name."""
        return self._json(self._apps.create_namespaced_deployment, self.namespace, manifest)

    def patch_deployment(self, name: str, uid: str, change: dict[str, Any]) -> None:
        """Merge a change into that very Deployment; does nothing where it is gone."""
        body = {**change, "metadata": {**change.get("metadata", {}), "uid": uid}}
        with _gone_is_fine():
            self._json(self._apps.patch_namespaced_deployment, name, self.namespace, body)

    def delete_deployment(self, name: str, uid: str) -> None:
        """Delete that very Deployment and then its pods; does nothing where it is gone or another one has its name."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        with _gone_is_fine():
            self._json(self._apps.delete_namespaced_deployment, name, self.namespace, body=options)

    def deployments(self, labels: str) -> Iterator[dict[str, Any]]:
        """The Deployments with these labels."""
        return self._pages(self._apps.list_namespaced_deployment, label_selector=labels)

    def pods(self, labels: str) -> Iterator[dict[str, Any]]:
        """The pods with these labels."""
        return self._pages(self._core.list_namespaced_pod, label_selector=labels)

    def warnings(self, uid: str) -> list[str]:
        """Messages of the warnings about an object, the newest last."""
        fields = f"involvedObject.uid={uid},type=Warning"
        events = list(self._pages(self._core.list_namespaced_event, field_selector=fields))
        events.sort(key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
        return [str(event.get("message", "")) for event in events]

    def log(self, pod: str, container: str, tail: int) -> bytes:
        """The last `tail` bytes of a container's output; status 400 where it has not started."""
        response = self._call(
            self._core.read_namespaced_pod_log, pod, self.namespace, container=container, tail_lines=tail
        )  # `tail` lines hold at least its last `tail` bytes; the API's own byte limit would keep the first ones
        kept = bytearray()
        try:
            for block in response.stream(1 << 16):
                kept += block
                del kept[:-tail]
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"the log of pod {pod} broke off: {error}") from error
        finally:
            response.release_conn()
        return bytes(kept)

    def said(self, pod: str, container: str, tail: int) -> str:
        """The same as text under a line with the pod's name; where it has not started or is gone, that."""
        try:
            text = self.log(pod, container, tail).decode("utf-8", "replace")
        except ClusterError as error:
            if error.status not in (400, 404):
                raise
            text = f"(no output: {error})\n"
        return f"--- pod {pod}\n{text}" + ("" if text.endswith("\n") or not text else "\n")

    def _pages(self, method: Any, **options: Any) -> Iterator[dict[str, Any]]:
        more: str | None = None
        while True:
            answer = self._json(method, self.namespace, limit=PAGE, **({"_continue": more} if more else {}), **options)
            yield from answer.get("items") or ()
            more = answer.get("metadata", {}).get("continue")
            if not more:
                return

    def _json(self, method: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        response = self._call(method, *arguments, **options)
        try:
            answer: dict[str, Any] = json.loads(response.data)
        except ValueError as error:
            raise ClusterError("the Kubernetes API server answered with something that is no JSON") from error
        finally:
            response.release_conn()
        return answer

    def _call(self, method: Any, *arguments: Any, **options: Any) -> urllib3.HTTPResponse:
        """The raw answer: the client's models cost some milliseconds an object, and we read a few fields."""
        try:
            answer: urllib3.HTTPResponse = method(
                *arguments, **options, _preload_content=False, _request_timeout=SECONDS
            )
        except ApiException as error:
            raise ClusterError(_told(error), error.status) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(f"the Kubernetes API server does not answer: {error}") from error
        return answer


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """For what is done to one very object: 404 says that it is gone, 409 that another one has its name."""
    try:
        yield
    except ClusterError as error:
        if error.status not in (404, 409):
            raise


def _told(error: ApiException) -> str:
    """The API server's own sentence."""
    try:
        told = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        told = error.reason
    return f"the Kubernetes API server refused ({error.status}): {told}"
