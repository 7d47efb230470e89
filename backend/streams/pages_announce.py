"""The page that announces a stream: its topic may be there already, or is made."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from backend.accounts.pages import operators_only
from backend.site.forms import Form, area, choice, number, text
from backend.streams import announcing
from backend.streams.serializers import AnnouncementSerializer
from mainstem.streams.codecs import FORMATS

CONFIG = '{"data_type": "float32", "data_reshape": "784", "label_type": "float32", "label_reshape": "10"}'
EXAMPLE = {"topic": "ward-7", "input_config": {"data_type": "float32", "data_reshape": "784"}}


class AnnounceForm(Form):
    """What an injection script says at its end."""

    topic = text(
        "Topic",
        "A name: all that is written to it, now and later; it is made where it is missing. Or exact ranges: "
        "ward-7:0:0:550 is partition 0 from offset 0 up to, not including, 550.",
        required=True,
        autocomplete="off",
    )
    description = text("Description", "For people.")
    input_format = choice("Format", [(name, name) for name in FORMATS])
    input_config = area("INPUT_CONFIG", "How a record becomes a sample, as JSON.", required=True, rows=3)
    total_msg = number("Records", "How many there are or will be; without it a name is a stream that grows.")
    validation_rate = number("Part for validation", "From 0 up to, not including, 1.")
    test_rate = number("Part for test", "Likewise.")
    dataset_restrictions = area("Data restriction", "JSON that a federation must share exactly.", rows=2)
    federation = text("Only for federation", "Its id; without it, whoever it fits.", autocomplete="off")


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def announce(request: HttpRequest) -> HttpResponse:
    """Show the form, or announce what it says."""
    form = AnnounceForm(request.POST or None, initial={"input_config": CONFIG})
    if request.method == "POST":

        def ask() -> announcing.Announced:
            asked = AnnouncementSerializer(data=form.typed())
            asked.is_valid(raise_exception=True)
            return announcing.announce(asked.validated_data)

        done = form.judged(ask)
        if done is not None:
            messages.success(request, str(done))
            return redirect("datasource-list-page")
    context: dict[str, Any] = {"form": form, "example": EXAMPLE}
    return render(request, "streams/announce.html", context, status=form.status)
