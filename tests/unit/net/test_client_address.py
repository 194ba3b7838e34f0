"""The address of a client: only trusted proxies may say it."""

from __future__ import annotations

import pytest

from api.net.client_address import address_group, client_address
from api.net.ssrf import parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        # not a proxy: the client wrote the header itself
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.1, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.1, 198.51.100.9,10.0.0.2 ", "198.51.100.9"),
        ("fd00::1", "2001:db8::9", "2001:db8::9"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "198.51.100.9", ""),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(peer: str, forwarded_for: str, expected: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == expected


def test_a_network_of_ipv6_is_one_client() -> None:
    assert address_group("2001:db8:1:2:3::4") == address_group("2001:db8:1:2::9") != address_group("2001:db8:1:3::4")
    assert address_group("::ffff:192.0.2.1") == address_group("192.0.2.1") != address_group("192.0.2.2")
    assert address_group("unknown") == "unknown"
