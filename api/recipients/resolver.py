"""Looks up the MX records of domains: many at a time, each with a limit of time, and all with one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.resolver

MAX_THREADS = 16
SECONDS_A_DOMAIN = 5.0
MAX_NAME_LENGTH = 253
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)

Status = Literal["found", "no_mx", "no_domain", "failed"]


@dataclass(frozen=True)
class MxRecord:
    """The most preferred MX record of a domain; `host` is None unless the status is found."""

    domain: str
    host: str | None
    status: Status


def is_domain(text: str) -> bool:
    """Whether a text can be a domain of mail: at least two labels, and no number of an address at the end."""
    labels = text.split(".")
    return len(text) <= MAX_NAME_LENGTH and len(labels) > 1 and all(map(LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def resolve_all(
    domains: Iterable[str], nameservers: Sequence[str] = (), *, port: int = 53, max_seconds: float = 600.0
) -> Iterator[MxRecord]:
    """The records, in the order of the domains. After `max_seconds` no more are looked up.

    Args:
        domains: of which is_domain() is true.
        nameservers: their addresses; none: those of the machine.
        port: of the nameservers.
        max_seconds: the limit of time of all together.
    """
    resolver = dns.resolver.Resolver(configure=not nameservers)
    if nameservers:
        resolver.nameservers = list(nameservers)
    resolver.port = port
    # one answer more from the cache of the nameserver costs less than a cache of ours
    resolver.cache = None
    resolver.lifetime = SECONDS_A_DOMAIN
    deadline = time.monotonic() + max_seconds

    def look_up(domain: str) -> MxRecord | None:
        return _look_up(resolver, domain) if time.monotonic() < deadline else None

    with ThreadPoolExecutor(MAX_THREADS) as pool:
        for record in pool.map(look_up, domains):
            if record is not None:
                yield record


def _look_up(resolver: dns.resolver.Resolver, domain: str) -> MxRecord:
    try:
        # a name with a dot at its end: the machine's search list is not tried
        answer = resolver.resolve(f"{domain}.", "MX")
    except dns.resolver.NXDOMAIN:
        return MxRecord(domain, None, "no_domain")
    except dns.resolver.NoAnswer:
        return MxRecord(domain, None, "no_mx")
    except (dns.exception.DNSException, OSError, ValueError):
        return MxRecord(domain, None, "failed")
    _, host = min((record.preference, str(record.exchange).rstrip(".").lower()) for record in answer)
    # a null MX (RFC 7505) says that the domain takes no mail
    return MxRecord(domain, host, "found") if host else MxRecord(domain, None, "no_mx")
