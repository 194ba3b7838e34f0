"""Parses and validates webhook URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from api.net.ssrf import Network, is_allowed, parse_address

MAX_URL_LENGTH = 2000
HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True)
class WebhookUrl:
    """An https URL.

    Attributes:
        host: name or IP address.
        port: 443 by default.
        target: path and query, as in the request line.
    """

    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str, allowed: Iterable[Network] = ()) -> WebhookUrl:
        """Parses a URL; `allowed` are networks that are not public and may be called.

        Raises:
            ValueError: it is not a valid webhook URL; the message says why.
        """
        if len(url) > MAX_URL_LENGTH or not url.isascii() or any(not "!" <= character <= "~" for character in url):
            raise ValueError(f"Must be at most {MAX_URL_LENGTH} ASCII characters, without spaces.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("Not a valid URL.") from None
        if parts.scheme != "https":
            raise ValueError("Must be an https URL.")
        if parts.username is not None or parts.password is not None:
            raise ValueError("Must not contain a user or a password.")
        if parts.fragment or port == 0 or "\\" in url:
            raise ValueError("Not a valid URL.")
        address = parse_address(host)
        if address is None and not HOST.fullmatch(host):
            raise ValueError("Not a valid URL.")
        if address is not None and not is_allowed(address, allowed):
            raise ValueError("Must be a public address.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or 443, target)

    @property
    def host_header(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"
