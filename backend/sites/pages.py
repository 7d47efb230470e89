"""Sites for people: the list, a token with the command to run, one site, revoking it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backend.accounts.pages import operators_only, viewers_only
from backend.accounts.roles import Role, at_least, user_of
from backend.rest.problems import Problem
from backend.site.forms import Form, area, choice, text
from backend.sites import admission, services
from backend.sites.models import Enrolment, Site
from backend.sites.serializers import EnrolmentSerializer, RevocationSerializer, SiteSerializer

ROWS: Final = 50
PENDING: Final = 50
HOURS: Final = [("1", "for an hour"), ("24", "for a day"), ("168", "for a week"), ("720", "for 30 days")]
UNTIL_HINT: Final = "A day such as 2027-06-30, UTC; empty: no end. Runs that are opened later do not admit it."


class EnrolmentForm(Form):
    """A one-time token."""

    name = text(
        "Name of the site", "At most 64 of A-Z, a-z, 0-9, '.', '_' and '-'. It is kept for good.",
        required=True, maxlength=64, autocomplete="off",
    )  # fmt: skip
    hours = choice("The token may be used", HOURS)
    valid_until = text("The site may take part until", UNTIL_HINT, maxlength=40, autocomplete="off")


class SiteForm(Form):
    """What can be changed of a site."""

    owners = text("Owners", "Names of users, with commas between them.", autocomplete="off")
    valid_until = text("May take part until", UNTIL_HINT, maxlength=40, autocomplete="off")
    allowed = area(
        "Its streams may train for",
        "Ids or names of federations, or public keys of platforms, a line each. Empty: for all that fit.",
    )

    def sent(self) -> dict[str, Any]:
        """As REST takes it."""
        typed = self.typed()
        return {
            "owners": [name.strip() for name in str(typed.get("owners", "")).split(",") if name.strip()],
            "valid_until": _end_of(typed.get("valid_until")),
            "allowed": [line.strip() for line in str(typed.get("allowed", "")).splitlines() if line.strip()],
        }


class RevocationForm(Form):
    """Why."""

    why = text("Why", required=True, maxlength=400)


@require_safe
@viewers_only
def site_list(request: HttpRequest) -> HttpResponse:
    """All sites by name, and the tokens that nobody has used yet."""
    sought = request.GET.get("q", "").strip()
    sites = Site.objects.filter(name__icontains=sought).prefetch_related("owners")
    page = Paginator(sites, ROWS).get_page(request.GET.get("page"))
    pending: Any = []
    if at_least(request.user, Role.OPERATOR):
        pending = Enrolment.objects.filter(used_at=None).select_related("owner")[:PENDING]
    return render(request, "sites/list.html", {"page": page, "sought": sought, "pending": pending})


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def enrolment_new(request: HttpRequest) -> HttpResponse:
    """Make a token, and show it with the command to run at the site, this once."""
    form = EnrolmentForm(request.POST or None, initial={"hours": str(services.HOURS)})
    context: dict[str, Any] = {"form": form}
    if form.is_bound:

        def make() -> tuple[Enrolment, str]:
            typed = form.typed()
            asked = EnrolmentSerializer(data={"name": "", **typed, "valid_until": _end_of(typed.get("valid_until"))})
            asked.is_valid(raise_exception=True)
            return services.invite(asked.validated_data, user_of(request))

        made = form.judged(make)
        if made is not None:
            context["enrolment"], token = made
            address = request.build_absolute_uri("/").rstrip("/")
            context["command"] = f"mainstem enrol --url {address} --token {token}"
    return render(request, "sites/new.html", context, status=form.status)


@require_POST
@operators_only
def enrolment_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Withdraw a token."""
    enrolment = get_object_or_404(Enrolment, pk=pk)
    try:
        services.withdraw(enrolment)
    except Problem as problem:
        messages.error(request, str(problem.detail))
    else:
        messages.success(request, f"The token for {enrolment.name} is withdrawn: it enrols nobody any more.")
    return redirect("site-list-page")


@require_http_methods(["GET", "HEAD", "POST"])
@viewers_only
def site_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One site: its key, who admits it, what can be changed."""
    site = get_object_or_404(Site, pk=pk)
    form = SiteForm(request.POST or None, initial=_now(site))
    if form.is_bound:
        if not at_least(request.user, Role.OPERATOR):
            raise PermissionDenied

        def change() -> Site:
            asked = SiteSerializer(site, data=form.sent(), partial=True)
            asked.is_valid(raise_exception=True)
            return services.change(asked)

        if form.judged(change) is not None:
            messages.success(request, f"The site {site.name} is changed.")
            return redirect("site-page", site.pk)
        site.refresh_from_db()
    return _page(request, site, form)


@require_POST
@operators_only
def site_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke it, and say who still admits it."""
    site = get_object_or_404(Site, pk=pk)
    form = RevocationForm(request.POST)

    def revoke() -> bool:
        asked = RevocationSerializer(data={"why": "", **form.typed()})
        asked.is_valid(raise_exception=True)
        services.revoke(site, user_of(request), asked.validated_data["why"])
        return True

    if form.judged(revoke) is None:
        messages.error(request, " ".join(str(line) for lines in form.errors.values() for line in lines))
        return redirect("site-page", site.pk)
    messages.success(request, f"The site {site.name} is revoked: runs that admit it are asked to put it out.")
    return redirect("site-page", site.pk)


def _page(request: HttpRequest, site: Site, form: SiteForm) -> HttpResponse:
    context = {
        "site": site,
        "form": form,
        "revocation": RevocationForm(),
        "admitting": admission.admitting(site),
        "advice": admission.UNTIL,
    }
    return render(request, "sites/site.html", context, status=form.status)


def _now(site: Site) -> dict[str, str]:
    return {
        "owners": ", ".join(site.owners.order_by("username").values_list("username", flat=True)),
        "valid_until": "" if site.valid_until is None else f"{site.valid_until.astimezone(UTC):%Y-%m-%d %H:%M}",
        "allowed": "\n".join(site.allowed),
    }


def _end_of(typed: Any) -> Any:
    """A day or a minute in UTC as REST takes it; what is neither stays as it is, for REST to judge."""
    if not typed:
        return None
    try:
        at = datetime.fromisoformat(str(typed).strip())
    except ValueError:
        return typed
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).isoformat()
