"""Network addresses that requests may reach: global unicast, or networks that a setting allows."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_REFUSED_NETWORKS: Final = tuple(
    ip_network(network)
    for network in (
        # IANA IPv4 Special-Purpose Address Registry, multicast (RFC 5771), reserved (RFC 1112).
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # A public address that Azure answers inside each virtual machine.
        "168.63.129.16/32",
        # IANA IPv6 Special-Purpose Address Registry within 2000::/3; Teredo is in 2001::/23.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""IPv6 outside it: loopback, link-local, unique local, multicast, and the forms that contain an
IPv4 address (mapped, NAT64)."""


def is_allowed_address(address: IpAddress, allowed_networks: Sequence[IpNetwork] = ()) -> bool:
    """Whether a request may connect to an address.

    Args:
        address: Result of a name resolution, or a literal of a URL.
        allowed_networks: Networks that are allowed although they are not public.
    """
    if any(address in network for network in allowed_networks):
        return True
    if isinstance(address, IPv6Address) and (address.scope_id or address not in _GLOBAL_UNICAST):
        return False
    return not any(address in network for network in _REFUSED_NETWORKS)
