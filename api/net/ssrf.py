"""Which addresses a webhook may go to: those of the public internet, and those that the operator lists."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# the registries of special-purpose addresses (RFC 6890 and what was added since), written out: what a release of Python takes
# for global has changed more than once
NOT_PUBLIC_4 = [
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
PUBLIC_6 = IPv6Network("2000::/3")
NOT_PUBLIC_6 = [
    IPv6Network(text)
    for text in (
        # protocol assignments, with Teredo and ORCHID
        "2001::/23",
        "2001:db8::/32",
        # 6to4: whatever IPv4 address is inside
        "2002::/16",
        "3fff::/20",
    )
]
# IPv6 addresses that are an IPv4 address in their last 32 bits
HOLDS_4 = [IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("64:ff9b::/96")]


def parsed(text: str) -> Address | None:
    """The address that a text is; None where it is none. One with a zone (`fe80::1%eth0`) counts as none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return None if isinstance(found, IPv6Address) and found.scope_id is not None else found


def may_be_called(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether an address is public, or in one of the networks that are allowed.

    An IPv4 address inside an IPv6 one is looked at as what it is.
    """
    inside = _inner(address)
    if any(one in network for network in allowed for one in {address, inside} if one.version == network.version):
        return True
    if isinstance(inside, IPv4Address):
        return not any(inside in network for network in NOT_PUBLIC_4) and inside.is_global and not inside.is_multicast
    return inside in PUBLIC_6 and not any(inside in network for network in NOT_PUBLIC_6) and inside.is_global


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as they are written in a setting.

    Raises:
        ValueError: one of them is neither.
    """
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def _inner(address: Address) -> Address:
    if isinstance(address, IPv6Address) and any(address in network for network in HOLDS_4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
