"""One GET of a URL, with a deadline for the whole request."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from api.errors import HttpGetFailed
from api.net.deadline import shut_down_after


@dataclass(frozen=True)
class HttpResponse:
    """A response: its status, and the first bytes of its content."""

    status: int
    content: bytes


def http_get(url: str, *, seconds: float, max_bytes: int) -> HttpResponse:
    """The response of an http or https URL. Redirects are not followed, and at most `max_bytes` of the content are read.

    Raises:
        HttpGetFailed: the server is unavailable, or its response took more than `seconds`, however it came in.
    """
    parsed = parse_url(url)
    if not parsed.host:
        raise HttpGetFailed("the URL has no host")
    connection = (
        HTTPSConnection(parsed.host, parsed.port, timeout=seconds, ssl_context=ssl.create_default_context())
        if parsed.scheme == "https"
        else HTTPConnection(parsed.host, parsed.port, timeout=seconds)
    )
    opened = None
    try:
        # after the response's headers the connection may not have its socket any more
        with shut_down_after(seconds, lambda: opened or connection.sock) as is_timed_out:
            connection.connect()
            opened = connection.sock
            connection.request("GET", parsed.request_uri, preload_content=False, decode_content=False)
            response = connection.getresponse()
            result = HttpResponse(response.status, response.read(max_bytes) if max_bytes else b"")
            response.close()
    except (OSError, HTTPError, http.client.HTTPException) as error:
        reason = f"took more than {seconds:g} s" if is_timed_out.is_set() else type(error).__name__
        raise HttpGetFailed(reason) from error
    finally:
        connection.close()
    # what was cut off at the deadline may look complete
    if is_timed_out.is_set():
        raise HttpGetFailed(f"took more than {seconds:g} s")
    return result
