"""Where the service answers, and whether it does."""

from __future__ import annotations

import urllib.error
import urllib.request

from api.settings import Settings


def address(settings: Settings) -> str:
    """The service's address as a client on this machine writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - read, not listened at
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{settings.port}"


def answers(settings: Settings, path: str = "/readyz") -> bool:
    """Whether the service is ready; at /healthz, whether it is there at all."""
    # a proxy is for the world outside
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{address(settings)}{path}", timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True
