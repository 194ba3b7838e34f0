"""The URL of this machine's service, and whether the service responds."""

from __future__ import annotations

import http.client
import urllib.request

from api.settings import Settings


def local_url(settings: Settings) -> str:
    """The service's URL for clients on this machine, without a slash at the end."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - read, not listened on
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{settings.port}"


def responds(settings: Settings, path: str = "/readyz") -> bool:
    """Whether the service responds with 2xx: at /readyz if it has data to serve, at /healthz if it runs at all."""
    # a proxy of the environment does not know this machine's services
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{local_url(settings)}{path}", timeout=5).close()
    # another program can have the port, and speak another protocol
    except (OSError, http.client.HTTPException):
        return False
    return True
