"""A webhook: one signed POST over https, to an address that was looked at first."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import queue
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from api.errors import DeliveryFailed
from api.net.deadline import ended_after
from api.net.ssrf import Address, Network, may_be_called, parsed

SECONDS_IN_ALL = 10.0
SECONDS_TO_CONNECT = 4.0
MAX_URL = 2000
SECRET_BYTES = 32
PREFIX = "whsec_"
USER_AGENT = "mailmart"
HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
GONE = 410

# the addresses of a name
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class WebhookUrl:
    """Where a webhook goes: a host's name or address, a port, and what is asked of it."""

    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str, allowed: Iterable[Network] = ()) -> WebhookUrl:
        """Reads an address.

        Raises:
            ValueError: it is none that a webhook can go to; the text says why.
        """
        if len(url) > MAX_URL or not url.isascii() or any(not "!" <= letter <= "~" for letter in url):
            raise ValueError(f"Must be at most {MAX_URL} characters of ASCII, without spaces.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("Not a valid URL.") from None
        if parts.scheme != "https":
            raise ValueError("Must be an https address.")
        if parts.username is not None or parts.password is not None:
            raise ValueError("Must not have a user or a password.")
        if parts.fragment or port == 0 or "\\" in url:
            raise ValueError("Not a valid URL.")
        address = parsed(host)
        if address is None and not HOST.fullmatch(host):
            raise ValueError("Not a valid URL.")
        if address is not None and not may_be_called(address, allowed):
            raise ValueError("Must be a public address.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or 443, target)

    @property
    def header(self) -> str:
        """Its Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the machine's own resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def new_secret() -> str:
    """A secret to sign with, in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """`v1,…` of Standard Webhooks: over the id, the time and the body."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def call(
    url: str,
    body: bytes,
    *,
    webhook_id: str,
    keys: Sequence[str],
    allowed: Sequence[Network] = (),
    resolve: Resolve = resolve,
    seconds: float = SECONDS_IN_ALL,
) -> None:
    """Posts a JSON body, signed with each of the keys (an old one beside a new one); returning, the receiver has answered 2xx.

    The name is resolved once, every address of it is looked at, and the connection goes to one of these and no other. Nothing
    is read but the status: what a receiver says is of no use to us, and might be to somebody who points a webhook at a server
    of ours.

    Raises:
        DeliveryFailed: it has not.
    """
    deadline = time.monotonic() + seconds
    try:
        receiver = WebhookUrl.of(url, allowed)
    except ValueError as error:
        raise DeliveryFailed(f"The webhook's address: {error}", is_lasting=True) from error
    addresses = _checked(receiver, allowed, resolve, seconds)
    timestamp = int(time.time())
    headers = {
        "Host": receiver.header,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Connection": "close",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, webhook_id, timestamp, body) for key in keys),
    }
    status = _post(receiver, addresses, body, headers, deadline)
    if not 200 <= status < 300:
        said = "a redirect, which is not followed" if 300 <= status < 400 else f"status {status}"
        raise DeliveryFailed(f"The receiver answered with {said}", is_gone=status == GONE)


def _checked(receiver: WebhookUrl, allowed: Sequence[Network], resolve: Resolve, seconds: float) -> list[Address]:
    """The receiver's addresses, all of which may be called.

    Raises:
        DeliveryFailed: one of them may not, or there is none.
    """
    literal = parsed(receiver.host)
    texts = [str(literal)] if literal is not None else _resolved(receiver, resolve, seconds)
    found = [parsed(text) for text in texts]
    addresses = [address for address in found if address is not None]
    # one that could not be read is one that was not looked at
    if len(addresses) < len(texts) or not all(may_be_called(address, allowed) for address in addresses):
        raise DeliveryFailed("The webhook's address is not a public one", is_lasting=True)
    if not addresses:
        raise DeliveryFailed("The webhook's host has no address")
    return addresses


def _resolved(receiver: WebhookUrl, resolve: Resolve, seconds: float) -> Sequence[str]:
    # in a thread of its own: a resolver takes the time that it takes
    answer: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(receiver.host, receiver.port))
        except (OSError, UnicodeError):
            answer.put([])

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return answer.get(timeout=seconds / 2)
    except queue.Empty:
        return []


def _post(receiver: WebhookUrl, addresses: Sequence[Address], body: bytes, headers: Mapping[str, str], deadline: float) -> int:
    """The status that the first address that answers gives."""
    failure = DeliveryFailed("The receiver does not answer")
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection = HTTPSConnection(
            str(address),
            receiver.port,
            # SNI, and what the certificate has to be for
            server_hostname=receiver.host.rstrip("."),
            ssl_context=ssl.create_default_context(),
            # once for the connection, and once for the handshake
            timeout=min(SECONDS_TO_CONNECT, left / 2),
        )
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            if _is_of_tls(error):
                failure = DeliveryFailed("The receiver's certificate is not valid, or it speaks no TLS")
            connection.close()
            continue
        return _asked(connection, receiver, body, headers, deadline)
    raise failure


def _asked(connection: HTTPSConnection, receiver: WebhookUrl, body: bytes, headers: Mapping[str, str], deadline: float) -> int:
    left = max(deadline - time.monotonic(), 0.001)
    connection.timeout = left
    try:
        with ended_after(left, lambda: connection.sock) as is_over:
            connection.request("POST", receiver.target, body, headers, preload_content=False)
            response = connection.getresponse()
            response.close()
            # headers that end with the connection are headers to http.client
            if is_over.is_set():
                raise TimeoutError
            return response.status
    except (HTTPError, http.client.HTTPException, OSError) as error:
        raise DeliveryFailed("The receiver gives no answer") from error
    finally:
        connection.close()


def _is_of_tls(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError) or "SSL" in type(error).__name__
