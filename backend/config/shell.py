"""Template tags of every page: the sections of the main navigation, addresses with changed queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.http import QueryDict
from django.urls import NoReverseMatch, reverse

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
    ("Data", (("Data sources", "datasource-list-page"), ("Topics", "topic-list-page"), ("Jobs", "job-list-page"))),
    ("Use", (("Inference", "inference-list-page"), ("API", "api-page"))),
    ("Manage", (("Users", "user-list-page"),)),
)
"""Title, and the name of the address, in the order shown. A section whose pages are not installed is left out."""
FOR = {"deployment-new-page": "may_act", "user-list-page": "may_delete"}
"""Sections that only some roles see, by the context variable that says so."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation."""

    title: str
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under one title."""

    title: str
    links: list[Link]


@register.filter
def thousands(value: Any) -> str:
    """`1,234,567`."""
    return f"{value:,}" if isinstance(value, int) else str(value)


@register.simple_tag
def place(name: str, *args: Any) -> str:
    """The address of that name; empty where no such page is installed."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


@register.simple_tag(takes_context=True)
def sections(context: template.Context) -> list[Group]:
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
        Group(title, [Link(label, at, at == current and (at != "/" or path == "/")) for label, at in links if at])
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
