"""The page about the API: how a program logs in, and every resource as curl and Python."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only

RESOURCES = (
    ("models", "Models: what is trained.", "GET", "/api/models/", None),
    (
        "a model",
        "A model from a template; /api/models/templates/ lists them.",
        "POST",
        "/api/models/",
        {"name": "digits", "template": {"name": "cnn", "params": {"classes": 10}}, "seed": 7},
    ),
    ("a configuration", "Models that are trained on the same data.", "POST", "/api/configurations/",
     {"name": "digits", "models": [1]}),
    ("a deployment", "Opens a federation; everything but the configuration has a default.", "POST",
     "/api/deployments/", {"configuration": 1, "rounds": 5, "min_clients": 3}),
    ("deployments", "What is training, and where it stands.", "GET", "/api/deployments/?state=running", None),
    ("results", "Rounds, clients, versions, refusals of all runs.", "GET", "/api/results/", None),
    ("data sources", "Streams that sites have announced.", "GET", "/api/datasources/", None),
    ("sample data", "Real digits for some clients.", "POST", "/api/injections/", {"clients": 3}),
    ("a file's look", "Files are sent as a form: curl -F file=@mine.csv; then looked at and injected.", "POST",
     "/api/uploads/1/look/", {"missing": "drop", "categories": "one-hot"}),
    ("topics", "What is in Kafka.", "GET", "/api/topics/", None),
    ("Jobs", "Training Jobs; /api/jobs/NAME/log/ has the output.", "GET", "/api/jobs/", None),
)  # fmt: skip
"""Title, what it is, method, address, body."""


@require_safe
@viewers_only
def programs(request: HttpRequest) -> HttpResponse:
    """How to do by a program what the pages do."""
    return render(request, "programs.html", {"resources": RESOURCES})
