"""Sends a webhook: one signed POST over https, to an address that was checked first."""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader
from typing import Any, cast

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from api.errors import DeliveryFailed
from api.net.deadline import shut_down_after
from api.net.ssrf import Address, Network, is_allowed, parse_address
from api.reports.webhook_signature import sign_webhook
from api.reports.webhook_url import WebhookUrl

TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 4.0
USER_AGENT = "mailmart"
HTTP_GONE = 410

# the IP addresses of a host name
Resolve = Callable[[str, int], Sequence[str]]


class _CompleteResponse(http.client.HTTPResponse):
    """Fails if the connection ends in the middle of the headers: http.client takes such a response for complete."""

    def begin(self) -> None:
        lines = _Lines(self.fp)
        self.fp = cast(BufferedReader, lines)
        super().begin()
        # the line that ends the headers
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.HTTPException("the response ended in its headers")


class _Lines:
    """The file of a response, and the last line that was read of it."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._file.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Connection(HTTPSConnection):
    response_class = _CompleteResponse


def resolve(host: str, port: int) -> Sequence[str]:
    """Resolves a host name with the system's resolver."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def send_webhook(
    url: str,
    body: bytes,
    *,
    webhook_id: str,
    keys: Sequence[str],
    allowed: Sequence[Network] = (),
    resolve: Resolve = resolve,
    seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Posts a JSON body. It returns if the receiver responded with 2xx.

    The host name is resolved once. All of its addresses are checked, and the connection goes to one of them: a second lookup
    could return another address. Only the status is read: the content of a response could disclose an internal server to
    somebody who points a webhook at it.

    Args:
        url: of the receiver.
        body: JSON.
        webhook_id: the same at each attempt.
        keys: the secrets to sign with: during a rotation the new and the old one.
        allowed: networks that are not public and may be called.
        resolve: resolves host names.
        seconds: timeout for the whole call.

    Raises:
        DeliveryFailed: it did not, or cannot be called.
    """
    deadline = time.monotonic() + seconds
    try:
        receiver = WebhookUrl.parse(url, allowed)
    except ValueError as error:
        raise DeliveryFailed(f"The webhook URL is invalid: {error}", is_lasting=True) from error
    addresses = _allowed_addresses(receiver, allowed, resolve, seconds)
    timestamp = int(time.time())
    headers = {
        "Host": receiver.host_header,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Connection": "close",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign_webhook(key, webhook_id, timestamp, body) for key in keys),
    }
    status = _post(receiver, addresses, body, headers, deadline)
    if not 200 <= status < 300:
        response = "a redirect, which is not followed" if 300 <= status < 400 else f"status {status}"
        raise DeliveryFailed(f"The receiver responded with {response}", is_gone=status == HTTP_GONE)


def _allowed_addresses(receiver: WebhookUrl, allowed: Sequence[Network], resolve: Resolve, seconds: float) -> list[Address]:
    """The receiver's addresses.

    Raises:
        DeliveryFailed: the name has no address, or one of them may not be called.
    """
    literal = parse_address(receiver.host)
    texts = [str(literal)] if literal is not None else _resolve_in_time(receiver, resolve, seconds)
    parsed = [parse_address(text) for text in texts]
    addresses = [address for address in parsed if address is not None]
    # an address that cannot be parsed was not checked
    if len(addresses) < len(texts) or not all(is_allowed(address, allowed) for address in addresses):
        addresses = []
    if not addresses:
        # one message, and the same retries: it must not disclose which internal names resolve
        raise DeliveryFailed("The webhook's host cannot be resolved to a public address")
    return addresses


def _resolve_in_time(receiver: WebhookUrl, resolve: Resolve, seconds: float) -> Sequence[str]:
    # in a thread, because getaddrinfo has no timeout
    results: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(resolve(receiver.host, receiver.port))
        except (OSError, UnicodeError):
            results.put([])

    threading.Thread(target=run, name="resolve", daemon=True).start()
    try:
        return results.get(timeout=seconds / 2)
    except queue.Empty:
        return []


def _post(receiver: WebhookUrl, addresses: Sequence[Address], body: bytes, headers: Mapping[str, str], deadline: float) -> int:
    """The status of the response from the first address that accepts a connection."""
    failure = DeliveryFailed("The receiver cannot be reached")
    for address in addresses:
        seconds_left = deadline - time.monotonic()
        if seconds_left <= 0:
            break
        connection = _Connection(
            str(address),
            receiver.port,
            # for SNI and the verification of the certificate
            server_hostname=receiver.host.rstrip("."),
            ssl_context=ssl.create_default_context(),
            # applies to the connection and to the handshake, one after the other
            timeout=min(CONNECT_TIMEOUT_SECONDS, seconds_left / 2),
        )
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            if _is_tls_error(error):
                failure = DeliveryFailed("The receiver's certificate is not valid, or it does not support TLS")
            connection.close()
            continue
        return _request(connection, receiver, body, headers, deadline)
    raise failure


def _request(connection: HTTPSConnection, receiver: WebhookUrl, body: bytes, headers: Mapping[str, str], deadline: float) -> int:
    seconds_left = max(deadline - time.monotonic(), 0.001)
    connection.timeout = seconds_left
    try:
        with shut_down_after(seconds_left, lambda: connection.sock):
            connection.request("POST", receiver.target, body, headers, preload_content=False)
            response = connection.getresponse()
            response.close()
            return response.status
    except (HTTPError, http.client.HTTPException, OSError) as error:
        raise DeliveryFailed("The receiver did not respond") from error
    finally:
        connection.close()


def _is_tls_error(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError) or "SSL" in type(error).__name__
