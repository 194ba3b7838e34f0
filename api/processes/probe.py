"""Whether the service of this machine responds."""

from __future__ import annotations

import http.client
import urllib.request

from api.settings import Settings


def responds(settings: Settings, path: str = "/readyz") -> bool:
    """Whether the service responds with 2xx: at /readyz if it has data to serve, at /healthz if it runs at all."""
    # a proxy of the environment does not know this machine's services
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{settings.local_url}{path}", timeout=5).close()
    # another program can have the port, and speak another protocol
    except (OSError, http.client.HTTPException):
        return False
    return True
