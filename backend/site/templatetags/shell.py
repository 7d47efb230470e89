"""Template tags of every page: the sections of the main navigation, addresses with changed queries, times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import template
from django.http import QueryDict
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("", (("Overview", "overview-page"), ("Deployments", "deployment-list-page"), ("Compare", "compare-page"))),
    (
        "Build",
        (
            ("Models", "model-list-page"),
            ("Configurations", "configuration-list-page"),
            ("New deployment", "deployment-new-page"),
        ),
    ),
    (
        "Data",
        (
            ("Data sources", "datasource-list-page"),
            ("Sites", "site-list-page"),
            ("Topics", "topic-list-page"),
            ("Jobs", "job-list-page"),
        ),
    ),
    ("Use", (("Inference", "inference-list-page"), ("API", "api-page"))),
    ("Manage", (("Users", "user-list-page"), ("Audit", "audit-page"))),
)
"""Title, and the name of the address, in the order shown. A section whose pages are not installed is left out."""
FOR = {"deployment-new-page": "may_act", "user-list-page": "may_delete", "audit-page": "may_delete"}
"""Sections that only some roles see, by the context variable that says so."""

SHAPES = {"second": "%Y-%m-%d %H:%M:%S", "minute": "%Y-%m-%d %H:%M", "clock": "%H:%M:%S"}
"""How a time is written; the zone follows."""


@dataclass(frozen=True, slots=True)
class NavigationLink:
    """An entry of the navigation."""

    title: str
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class NavigationGroup:
    """Entries under one title."""

    title: str
    links: list[NavigationLink]


@register.filter
def thousands(value: Any) -> str:
    """`1,234,567`."""
    return f"{value:,}" if isinstance(value, int) else str(value)


@register.filter
def when(value: Any, shape: str = "second") -> SafeString | str:
    """A datetime, or milliseconds since the epoch, as an element that names its zone; empty for no time.

    `shape` of `SHAPES` says how much is shown. `shell.js` shows it in the reader's zone; the title keeps UTC.
    """
    try:
        at = value if isinstance(value, datetime) else datetime.fromtimestamp(value / 1000, UTC) if value else None
    except (OverflowError, ValueError, OSError, TypeError):
        return ""  # a peer's clock may say anything
    if at is None:
        return ""
    at = at.astimezone(UTC)
    exact, said = f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{at:{SHAPES[shape]}} UTC"
    element = '<time datetime="{}" data-shape="{}" title="{}">{}</time>'
    return format_html(element, f"{at:%Y-%m-%dT%H:%M:%SZ}", shape, exact, said)


@register.simple_tag
def place(name: str, *args: Any) -> str:
    """The address of that name; empty where no such page is installed."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


@register.simple_tag(takes_context=True)
def sections(context: template.Context) -> list[NavigationGroup]:
    """The main navigation for this user, with the section that the page belongs to marked as current."""
    request = context.get("request")
    path = getattr(request, "path", "")
    named = [
        (title, [(label, place(name)) for label, name in links if name not in FOR or context.get(FOR[name])])
        for title, links in SECTIONS
    ]
    addresses = [address for _, links in named for _, address in links if address and path.startswith(address)]
    current = max(addresses, key=len, default="")
    groups = [
        NavigationGroup(
            title,
            [NavigationLink(label, at, at == current and (at != "/" or path == "/")) for label, at in links if at],
        )
        for title, links in named
    ]
    return [group for group in groups if group.links]


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """`?...` of this page with some parameters changed; None removes one. Another filter starts at the first page."""
    request = context.get("request")
    values: QueryDict = request.GET.copy() if request is not None else QueryDict(mutable=True)
    if "page" not in changes:
        values.pop("page", None)
    for name, value in changes.items():
        if value is None or value == "":
            values.pop(name, None)
        else:
            values[name] = str(value)
    return f"?{values.urlencode()}"
