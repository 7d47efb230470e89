"""The backend's REST API as the commands use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from mainstem.errors import MainstemError
from mainstem.platform import secret_settings
from mainstem.platform.home import Home

TIMEOUT = 180.0  # seconds; building a model starts TensorFlow
DEFAULT = "http://127.0.0.1:8000"


class ApiError(MainstemError):
    """The backend refused or did not answer; `status` is the HTTP status or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One login; as a context manager it ends the token that it was given for a password. `timeout` is in seconds.

    Raises ApiError with what the backend says, naming the field.
    """

    def __init__(self, address: str, token: str | None = None, *, timeout: float = TIMEOUT) -> None:
        self.address, self._timeout = address.rstrip("/"), timeout
        self._session = requests.Session()
        here = ("http://127.", "http://localhost", "http://[::1]")
        self._session.trust_env = not self.address.startswith(here)  # no proxy for those
        self._session.headers["Connection"] = "close"  # a kept one may die unseen behind `kubectl port-forward`
        self._ours = False
        if token:
            self._session.headers["Authorization"] = f"Token {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._ours:
            with contextlib.suppress(ApiError):
                self._call("DELETE", "auth/token/")
        self._session.close()

    @staticmethod
    def connect(home: Home) -> Api:
        """With MAINSTEM_API and MAINSTEM_API_TOKEN, else as the admin of the platform that runs in `home`."""
        running = home.running()
        address = os.environ.get("MAINSTEM_API") or (running.api if running else DEFAULT)
        if token := os.environ.get("MAINSTEM_API_TOKEN"):
            return Api(address, token)
        password = secret_settings.read(home.settings).get("MAINSTEM_ADMIN_PASSWORD")
        if password is None:
            raise ApiError(
                f"no login is known: {home.settings} does not exist; run this where `mainstem up` was started, or set "
                "MAINSTEM_HOME, or MAINSTEM_API and MAINSTEM_API_TOKEN"
            )
        api = Api(address)
        api.login("admin", password)
        return api

    def login(self, user: str, password: str) -> None:
        """Exchange a password for a token and use it from here on."""
        answer = self.post("auth/token/", {"username": user, "password": password, "name": "mainstem command"})
        self._session.headers["Authorization"] = f"Token {answer['token']}"
        self._ours = True

    def get(self, path: str, **params: Any) -> Any:
        """GET a resource below /api/."""
        return self._call("GET", path, params=params).json()

    def text(self, path: str) -> str:
        """GET a text below /api/."""
        return self._call("GET", path).text

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All entries of a list, page by page."""
        page = self.get(path, **params)
        yield from page["results"]
        while page.get("next"):
            page = self._call("GET", page["next"]).json()
            yield from page["results"]

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST JSON; the answer's JSON, or None where it has none."""
        response = self._call("POST", path, json=body or {})
        return response.json() if response.content else None

    def delete(self, path: str, **params: Any) -> None:
        """DELETE a resource below /api/."""
        self._call("DELETE", path, params=params)

    def download(self, path: str, target: Path) -> None:
        """GET a file."""
        response = self._call("GET", path, stream=True)
        with open(target, "wb") as handle:
            for block in response.iter_content(1 << 20):
                handle.write(block)

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = path if path.startswith("http") else f"{self.address}/api/{path}"
        try:
            response = self._session.request(method, url, timeout=self._timeout, **arguments)
        except requests.RequestException as error:
            raise ApiError(
                f"the backend at {self.address} does not answer ({type(error).__name__}): is `mainstem up` running?"
            ) from error
        if response.status_code >= 400:
            raise ApiError(_problem(response), response.status_code)
        return response


def _problem(response: requests.Response) -> str:
    """A problem document (RFC 9457) in one sentence."""
    try:
        body = response.json()
        errors = [f"{error.get('field') or 'request'}: {error['message']}" for error in body.get("errors", [])]
        text = "; ".join(errors) or body.get("detail") or body.get("title")
    except (ValueError, AttributeError, KeyError, TypeError):
        text = None
    return f"the backend refused ({response.status_code}): {text or response.reason}"
