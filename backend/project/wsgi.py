"""The WSGI application that gunicorn serves."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from mainstem.errors import ConfigError
from mainstem.runtime import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
logs.configure("web")
application = get_wsgi_application()


def _check() -> None:
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        settings.SECRET_KEY  # noqa: B018
    except ImproperlyConfigured as error:
        raise ConfigError(
            "MAINSTEM_SECRET_KEY (or MAINSTEM_SECRET_KEY_FILE) is missing: give a long random text"
        ) from error


_check()
