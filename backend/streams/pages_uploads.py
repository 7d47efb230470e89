"""Pages for files of samples: upload one, see it as the model will, say what it needs, inject it."""

from __future__ import annotations

from typing import Any

import numpy as np
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from backend.accounts.pages import operators_only
from backend.accounts.roles import user_of
from backend.site.forms import Form, area, choice, number, text
from backend.streams import uploads
from backend.streams.models import Injection, Upload
from backend.streams.options import KINDS, OptionsSerializer
from backend.streams.pictures import picture
from backend.streams.serializers import UploadCreateSerializer
from mainstem.streams.codecs import FORMATS

LINES = ("drop", "words")
"""Fields with an entry on each line."""
MOST_SHOWN = 10
EXAMPLE = {"label_column": "species", "missing": "drop", "categories": "one-hot", "test_rate": 0.2, "topic": "penguins"}


class _Files(forms.FileInput):
    allow_multiple_selected = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return files.getlist(name) if hasattr(files, "getlist") else []


class UploadForm(Form):
    """Files of samples."""

    file = forms.FileField(
        label="File",
        help_text="CSV (also tab-separated, German or Excel's), .npz, MNIST IDX (both files), CIFAR-10 binary; at most "
        f"{settings.MAX_DATA_BYTES >> 20:,} MiB. It is kept for a day, or until it is in a stream.",
        widget=_Files({"multiple": True, "data-most-bytes": settings.MAX_DATA_BYTES}),
    )


class OptionsForm(Form):
    """How a file is read and where it goes."""

    label_column = text("Label's column", "Its name, or number from 0; without it the last.", autocomplete="off")
    classes = text("Classes", "How many, or their names in order: healthy,sick.", autocomplete="off")
    no_labels = forms.BooleanField(label="It has no labels")
    missing = choice(
        "Missing cells", (("refuse", "refuse them"), ("drop", "leave their rows out"), ("mean", "put the mean there"))
    )
    categories = choice(
        "Columns of words", (("", "refuse them"), ("one-hot", "a number for each word"), ("codes", "one code, from 0"))
    )
    drop = area("Columns to leave out", "One on each line; none keeps them all.", rows=2)
    words = area("Words of columns", "One column on each line: island=Biscoe,Dream.", rows=2)
    normalize = forms.BooleanField(label="Scale to 0..1")
    test_rate = number("Part for test", "At the end of the stream: 0.2 is a fifth.")
    validation_rate = number("Part for validation")
    shuffle = number("Shuffle, by seed", "Another order of the rows, for files sorted by class.", inputmode="numeric")
    kind = choice("Kind", [("", "as its name and first bytes say"), *((kind, kind) for kind in KINDS)])
    delimiter = text("Delimiter", "comma, semicolon, tab, space, pipe or a character.", autocomplete="off")
    decimal = choice("Before a fraction stands", ((".", "a point"), (",", "a comma")))
    encoding = text("Encoding", "Such as cp1252, latin-1, utf-16.", autocomplete="off")
    header = choice("First line", (("", "as it looks"), ("yes", "names the columns"), ("no", "is a row")))
    skip_lines = number("Lines to skip", "Before the table.", inputmode="numeric")
    limit = number("Rows, at most", inputmode="numeric")
    data_key = text("Array of data", ".npz only.", autocomplete="off")
    label_key = text("Array of labels", ".npz only.", autocomplete="off")
    label_subtract = number("Taken from each label", "1 for classes 1 to K.")
    data_reshape = text("Shape of a sample", "Such as 28 28.", autocomplete="off")
    dtype = text("Type to send", "float32, or such as uint8; stored keeps the file's.", autocomplete="off")
    topic = text("Topic", "Created where it is missing.", autocomplete="off")
    input_format = choice("Format", [(name, name) for name in FORMATS])
    description = text("Description", "For people; without it the file's name.", autocomplete="off")
    federation = text("Federation", "The only one meant.", autocomplete="off")
    restriction = area("Data restriction", "JSON that a federation must share exactly.", rows=2)

    GROUPS = (
        ("Label", ("label_column", "classes")),
        ("Cells that are no numbers", ("missing", "categories")),
        ("Columns", ("drop", "words")),
        ("Parts", ("test_rate", "validation_rate", "shuffle")),
    )
    MORE = (
        ("How it is written", ("kind", "delimiter", "decimal", "encoding", "header", "skip_lines")),
        ("Samples", ("limit", "data_key", "label_key", "label_subtract", "data_reshape", "dtype")),
        ("Stream", ("input_format", "description", "federation")),
    )

    @property
    def groups(self) -> list[tuple[str, list[Any]]]:
        """What most files need, by title."""
        return [(title, [self[name] for name in names]) for title, names in self.GROUPS]

    @property
    def more(self) -> list[tuple[str, list[Any]]]:
        """What few need."""
        return [(title, [self[name] for name in names]) for title, names in self.MORE]

    def options(self) -> dict[str, Any]:
        """What REST makes of the form; raises ValidationError."""
        typed = self.typed()
        for name in LINES:
            if name in typed:
                typed[name] = [line.strip() for line in typed[name].splitlines() if line.strip()]
        asked = OptionsSerializer(data=typed)
        asked.is_valid(raise_exception=True)
        found: dict[str, Any] = asked.validated_data
        return found


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def upload_new(request: HttpRequest) -> HttpResponse:
    """Send files, to be looked at on a page of their own."""
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    if request.method == "POST":

        def keep() -> Upload:
            asked = UploadCreateSerializer(data={"file": request.FILES.getlist("file")})
            asked.is_valid(raise_exception=True)
            return uploads.look(uploads.store(asked.validated_data["file"], user_of(request)), {})

        upload = form.judged(keep)
        if upload is not None:
            return redirect("upload-page", upload.pk)
    return render(request, "streams/upload_new.html", {"form": form}, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def upload_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """What is in the files, as the model will see it; a form of what they need, which looks again."""
    upload = get_object_or_404(Upload, pk=pk)
    form = OptionsForm(request.POST) if request.method == "POST" else OptionsForm(initial=_initial(upload))
    if request.method == "POST" and form.judged(lambda: uploads.look(upload, form.options())) is not None:
        return redirect("upload-page", pk)
    return _detail(request, upload, form)


@require_POST
@operators_only
def upload_inject(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the launcher to inject the files by the form's options."""
    upload = get_object_or_404(Upload, pk=pk)
    form = OptionsForm(request.POST)

    def ask() -> Injection:
        options = form.options()
        if options != upload.options or upload.found is None:
            uploads.look(upload, options)
        return uploads.inject(upload, user_of(request))

    made = form.judged(ask)
    if made is None:
        return _detail(request, upload, form)
    messages.success(request, f"{made}: the launcher takes it within a second.")
    return redirect("datasource-list-page")


@require_POST
@operators_only
def upload_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget the files."""
    upload = get_object_or_404(Upload, pk=pk)
    uploads.delete(upload)
    messages.success(request, f"{upload} is deleted.")
    return redirect("datasource-list-page")


def _initial(upload: Upload) -> dict[str, Any]:
    shown = dict(upload.options)
    for name in LINES:
        shown[name] = "\n".join(shown.get(name, []))
    return {"topic": uploads.usual_topic(upload)} | shown


def _detail(request: HttpRequest, upload: Upload, form: OptionsForm) -> HttpResponse:
    context = {"upload": upload, "form": form, "example": EXAMPLE, "address": f"/api/uploads/{upload.pk}/inject/"}
    context |= {"look": _shown(upload.found) if upload.found is not None else None}
    return render(request, "streams/upload.html", context, status=form.status)


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    """What was found, as the page shows it."""
    config, preview = found["input_config"], found["preview"]
    shape = tuple(map(int, str(config["data_reshape"]).split()))
    rows = []
    for row in preview["rows"]:
        data, label = row["data"], row["label"]
        values = np.array(data, np.float64)
        drawn = picture(values.reshape(shape)) if values.size == np.prod(shape) else None
        told = row["means"] or (" ".join(f"{value:g}" for value in label[:MOST_SHOWN]) if label else "none")
        rows.append({"values": [f"{value:.5g}" for value in data[:MOST_SHOWN]], "picture": drawn, "label": told})
    width = len(preview["rows"][0]["data"]) if preview["rows"] else 0
    return {
        "taken": found["taken"],
        "input_config": config,
        "format": found["format"],
        "columns": (preview["columns"] or list(range(width)))[:MOST_SHOWN],
        "more": max(0, width - MOST_SHOWN),
        "rows": rows,
        "drawn": bool(rows) and all(row["picture"] for row in rows),
    }
