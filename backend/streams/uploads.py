"""Files of samples that people send: kept in pieces in the database, looked at and injected by the public script."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from rest_framework import status

from backend.accounts.models import User
from backend.audit.recording import recorded
from backend.rest.problems import Problem
from backend.streams import script
from backend.streams.models import Injection, InjectionState, Upload, UploadPart
from backend.streams.options import arguments

PART_BYTES: Final = 1 << 20
KEPT_HOURS: Final = 24
MOST_EACH: Final = 5
"""Uploads that a person has at a time; a newer one takes the oldest one's place."""
LOOK_SECONDS: Final = 60.0
_AT_ONCE: Final = threading.BoundedSemaphore(2)
"""Looks at a time in this process; others wait for their turn."""
_BUSY: Final = (InjectionState.WAITING, InjectionState.RUNNING)


def store(files: Sequence[UploadedFile[bytes]], user: User | None) -> Upload:
    """Keep the files, piece by piece; raises Problem where they are too large, none, or too many."""
    if not files:
        raise Problem(status.HTTP_400_BAD_REQUEST, "Choose a file.", field="file")
    size = sum(file.size or 0 for file in files)
    if size > settings.MAX_DATA_BYTES:
        most = f"The file is larger than {settings.MAX_DATA_BYTES:,} bytes: inject it with the script, which reads any."
        raise Problem(status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, most, field="file")
    names = [_name(file.name or "", number) for number, file in enumerate(files)]
    if len(set(names)) < len(names):
        raise Problem(status.HTTP_400_BAD_REQUEST, f"Two files have the name {names[0]}.", field="file")
    forget_old()
    with recorded("upload.create") as act:
        upload = Upload.objects.create(names=names, size=size, created_by=user)
        for number, file in enumerate(files):
            file.seek(0)
            for index, data in enumerate(iter(partial(file.read, PART_BYTES), b"")):
                UploadPart.objects.create(upload=upload, file=number, index=index, data=data)
        act.of((str(upload.pk), str(upload)))
    mine = Upload.objects.filter(created_by=user).exclude(injections__state__in=_BUSY)
    Upload.objects.filter(pk__in=list(mine.values_list("pk", flat=True)[MOST_EACH:])).delete()
    return upload


def look(upload: Upload, options: Mapping[str, Any]) -> Upload:
    """Have the script read the files with these options, and remember what it says: `found`, or its `problem`."""
    with _AT_ONCE, written(upload) as paths:
        words = ["--dry-run", "--json", "--quiet", *arguments(options), *paths]
        printed, problem = script.run(script.FILES, words, seconds=LOOK_SECONDS)
    upload.options, upload.problem = dict(options), problem
    upload.found = None if printed is None else json.loads(printed)
    upload.save(update_fields=["options", "problem", "found"])
    return upload


def inject(upload: Upload, user: User | None) -> Injection:
    """Ask the launcher to inject the files as they were last looked at; raises Problem where that found a problem."""
    if upload.problem or upload.found is None:
        raise Problem(status.HTTP_409_CONFLICT, f"It cannot be injected so: {upload.problem or 'look at it first'}.")
    with recorded("injection.create") as act:
        made = Injection.objects.create(
            upload=upload,
            files=str(upload),
            options=upload.options,
            topic=upload.options.get("topic") or usual_topic(upload),
            input_format=upload.options.get("input_format", "RAW"),
            restriction=upload.options.get("restriction"),
            created_by=user,
        )
        act.of(made)
    return made


def delete(upload: Upload) -> None:
    """Forget the files."""
    with recorded("upload.delete", upload):
        upload.delete()


def usual_topic(upload: Upload) -> str:
    """A topic's name from the first file's."""
    return re.sub(r"[^a-z0-9-]+", "-", upload.names[0].partition(".")[0].lower()).strip("-")[:60] or "samples"


@contextlib.contextmanager
def written(upload: Upload) -> Iterator[list[str]]:
    """The files in a directory of their own, for as long as the block lasts: their paths, in order."""
    with tempfile.TemporaryDirectory(prefix="mainstem-upload-") as folder:
        paths = [Path(folder) / name for name in upload.names]
        for number, path in enumerate(paths):
            parts = upload.parts.filter(file=number).order_by("index")
            with path.open("wb") as file:
                for part in parts.iterator(chunk_size=1):
                    file.write(part.data)
        yield [str(path) for path in paths]


def forget_old() -> None:
    """Delete what nobody has injected within a day."""
    old = Upload.objects.filter(created_at__lt=timezone.now() - timedelta(hours=KEPT_HOURS))
    old.exclude(injections__state__in=_BUSY).delete()


def _name(name: str, number: int) -> str:
    """A file's own name as a name in a directory: its letters, digits, and what else is harmless."""
    plain = re.sub(r"[^\w. ()+-]", "_", name.replace("\\", "/").rpartition("/")[2])[:100].strip(" .")
    return plain or f"file-{number + 1}"
