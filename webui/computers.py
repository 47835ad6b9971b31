"""Which addresses are one computer: for limits that a computer must not slip by taking another address."""

import ipaddress


def computer_of(address: str) -> str:
    """Return what one computer has: an IPv4 address, or the /64 that an IPv6 one picks its own from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
