"""Whether the web server goes on."""

from __future__ import annotations

from collections.abc import Callable


class ServerLife:
    """What ends with its web process asks here; the server's configuration says how to know."""

    alive: Callable[[], bool] = staticmethod(lambda: True)


life = ServerLife()
