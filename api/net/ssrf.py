"""Protects against server-side request forgery: webhooks may call public addresses and networks that the operator allows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# the IANA registries of special-purpose addresses (RFC 6890 and later additions), written out because ipaddress.is_global has
# changed between releases of Python
NON_PUBLIC_IPV4 = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
PUBLIC_IPV6 = IPv6Network("2000::/3")
NON_PUBLIC_IPV6 = [
    IPv6Network(text)
    for text in (
        # protocol assignments, with Teredo and ORCHID
        "2001::/23",
        "2001:db8::/32",
        # 6to4: contains an IPv4 address
        "2002::/16",
        "3fff::/20",
    )
]
# IPv6 networks whose last 32 bits are an IPv4 address
EMBEDDED_IPV4 = [IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("64:ff9b::/96")]


def parse_address(text: str) -> Address | None:
    """The IP address of a text; None if it is not one, or has a zone (`fe80::1%eth0`)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether an address is public or in an allowed network. An IPv4 address embedded in an IPv6 one is checked as IPv4."""
    effective = _effective_address(address)
    if any(one in network for network in allowed for one in {address, effective} if one.version == network.version):
        return True
    if isinstance(effective, IPv4Address):
        return not any(effective in network for network in NON_PUBLIC_IPV4) and effective.is_global and not effective.is_multicast
    return effective in PUBLIC_IPV6 and not any(effective in network for network in NON_PUBLIC_IPV6) and effective.is_global


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The addresses and networks of a setting.

    Raises:
        ValueError: a text is neither.
    """
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def _effective_address(address: Address) -> Address:
    if isinstance(address, IPv6Address) and any(address in network for network in EMBEDDED_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
