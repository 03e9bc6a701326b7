"""The address that a request counts for."""

import functools
import ipaddress

from django.http import HttpRequest

# One customer usually has a /64, with 2⁶⁴ addresses.
IPV6_PREFIX = 64


def address_of(request: HttpRequest) -> str:
    """REMOTE_ADDR, which a server sets from the headers of the proxies that it trusts."""
    return network_of(request.META.get("REMOTE_ADDR", ""))


@functools.lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The IPv4 address, or the IPv6 network that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or a name that a proxy sets
        return address
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # from a socket for both versions
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
