"""Whether the backend can do its work; the only address that is open to everybody."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from backend.project import database
from backend.project.soundness import TableWatch
from backend.rest.problems import refuse
from mainstem.runtime.disk import Disks

_watch = TableWatch()


@login_not_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 `{"status": "ok"}` where the database answers and no table is known to be damaged, else 503.

    Kafka is not asked: pages work without it. Where a disk has little room the status is `degraded` and `detail` says
    it: pages work, and rounds soon wait.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
        faults = _watch.faults(connection)
    except DatabaseError as error:
        if database.unmigrated(error):
            return refuse(request, 503, "The database was never migrated: `prepare` does it.")
        return refuse(request, 503, database.unavailable(error) or f"The database answers with an error: {error}")
    if faults:
        return refuse(request, 503, faults[0])
    little = Disks(settings.HOME, settings.DISK_FLOOR).said()
    return JsonResponse({"status": "degraded", "detail": " ".join(little)} if little else {"status": "ok"})
