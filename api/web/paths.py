"""Paths of requests: ids in them may contain any character, and a proxy may serve the API below a path of its own.

WSGI decodes a path before it is routed, so that an id with a slash (`%2F`) looks like two segments. Here an encoded slash stays
encoded until the path is split: PATH_INFO is decoded but for `%2F` and `%25`, and the converter of path parameters decodes those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlsplit

from werkzeug.routing import UnicodeConverter

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# the path and query as the client sent them; of servers (our ASGI adapter, gunicorn, werkzeug) each sets one of these
RAW_URI_KEYS = ("REQUEST_URI", "RAW_URI")
# all operations are below it, and below the id of a workspace
WORKSPACES = "/api/v1/workspaces"
KEPT = {b"%2f": b"%2F", b"%25": b"%25"}


class IdConverter(UnicodeConverter):
    """A path parameter: any text that is not empty."""

    def to_python(self, value: str) -> str:
        """The text of a segment of PATH_INFO."""
        return re.sub("%(2F|25)", lambda match: "/" if match[1] == "2F" else "%", value)

    def to_url(self, value: str) -> str:
        """A text as a segment of a URL."""
        return encode_segment(value)


def encode_segment(text: str) -> str:
    """A text as one segment of a URL's path."""
    return quote(text, safe="")


def resource_path(prefix: str, workspace_id: str, resource: str) -> str:
    """The path of a resource below a workspace's `analytics`, as the public URL has it: for Location, which is ASCII."""
    return f"{quote(prefix, safe='/%')}{WORKSPACES}/{encode_segment(workspace_id)}/analytics/{resource}"


def routed_path(path: str) -> str:
    """The path of a URL as Flask's map of URLs matches it."""
    return _decoded(quote(path, safe="/%").encode()).decode(errors="replace")


def prepare_path(environ: WSGIEnvironment, prefix: str) -> None:
    """Sets PATH_INFO to the path below `prefix` with encoded slashes. A proxy may have removed the prefix."""
    raw = next((environ[key] for key in RAW_URI_KEYS if environ.get(key)), None)
    if raw is None:
        # only the decoded path is known: every slash in it separates
        path = environ["PATH_INFO"].replace("%", "%25")
    elif "%" in raw or "://" in raw.partition("?")[0]:
        # a request may name the whole URL (RFC 9112, 3.2.2)
        path = raw.partition("?")[0]
        path = urlsplit(path).path if not path.startswith("/") else path
        path = _decoded(path.encode("latin-1", "replace")).decode("latin-1")
    else:
        path = environ["PATH_INFO"]
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :]
    environ["PATH_INFO"] = path or "/"


def _decoded(path: bytes) -> bytes:
    return re.sub(b"%[0-9A-Fa-f]{2}", _decode, path)


def _decode(match: re.Match[bytes]) -> bytes:
    octet = match[0].lower()
    return KEPT[octet] if octet in KEPT else unquote_to_bytes(octet)
