"""Under which names this server answers: Django's check of the Host header, with a sentence that names the setting.

Where nobody has set MAINSTEM_ALLOWED_HOSTS, every address that is no name (`192.168.1.20:8000`, `[fd00::5]`) is taken
as well. The check is there against names: one of an attacker's that suddenly leads to this machine (DNS rebinding)
would make a page of his one of ours. An address leads nowhere else than to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port

from backend.rest.problems import refuse


class HostMiddleware:
    """Answers 400 to requests for a host that is not ours."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass on what is for us."""
        try:
            request.get_host()
        except DisallowedHost:
            said = request.META.get("HTTP_HOST") or str(request.META["SERVER_NAME"])
            host = split_domain_port(said)[0]
            if not host:
                return refuse(request, 400, "The request does not say as a browser would which host it is for (Host).")
            if not (settings.ANY_ADDRESS and is_address(host)):
                return refuse(
                    request,
                    400,
                    f"This server does not answer to the name {host[:100]}: whoever runs it can add that to "
                    "MAINSTEM_ALLOWED_HOSTS and start it anew.",
                )
            request.get_host = lambda: said  # type: ignore[method-assign]  # Django's check knows names alone
        return self._next(request)


def is_address(host: str) -> bool:
    """Whether it is an IPv4 address, or an IPv6 one in brackets."""
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return (ip_address(plain).version == 6) == (plain != host)
    except ValueError:
        return False
