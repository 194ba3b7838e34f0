"""A nameserver on 127.0.0.1 that knows a few MX records."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

# a domain that never gets an answer, and one whose server fails
SILENT, FAILING = "silent.example.", "failing.example."


@dataclass
class DnsServer:
    """Where it listens, and the names that it was asked for."""

    port: int
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def dns_server(records: Mapping[str, Sequence[str]]) -> Iterator[DnsServer]:
    """A running nameserver. `records`: name → its MX records, such as "10 mx.example."; [] exists without any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.1)
        server = DnsServer(listener.getsockname()[1])
        stopping = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, records, server, stopping))
        thread.start()
        try:
            yield server
        finally:
            stopping.set()
            thread.join()


def _serve(listener: socket.socket, records: Mapping[str, Sequence[str]], server: DnsServer, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            data, address = listener.recvfrom(4096)
        except TimeoutError:
            continue
        query = dns.message.from_wire(data)
        name = query.question[0].name
        server.asked.append(str(name))
        if str(name) == SILENT:
            continue
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if str(name) == FAILING:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif str(name) not in records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif records[str(name)]:
            response.answer.append(dns.rrset.from_text_list(name, 60, "IN", "MX", list(records[str(name)])))
        listener.sendto(response.to_wire(), address)
