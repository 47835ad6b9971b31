"""Where another device finds this page, as words and as a QR code."""

import io
import ipaddress
from urllib.parse import urlsplit

import segno

from webui.hosts import Hosts, is_loopback


def page_addresses(scheme: str, port: int, hosts: Hosts) -> list[str]:
    """Return where others reach the page: the names first; empty where only this computer does.

    A name that another device answers to is left out: it could lead there.
    """
    if hosts.loopback_only:
        return []
    names = sorted(name for name in hosts.names() if name.endswith(".local") and name not in hosts.taken)
    found = [ipaddress.ip_address(each) for each in hosts.addresses()]
    usable = sorted(
        each
        for each in found
        if isinstance(each, ipaddress.IPv4Address) and not (each.is_loopback or each.is_link_local)
    )
    return [f"{scheme}://{each}:{port}/" for each in (*names, *usable)]


def own_address(url: str, hosts: Hosts, others: list[str]) -> str:
    """Return the address for another device: the one this browser came by, where others can use it."""
    host = url.partition("://")[2].rstrip("/")
    if not hosts.loopback_only and not is_loopback(host):
        return url
    return others[-1] if others else ""


def page_port(url: str) -> int:
    """Return the port of the address that a browser came by."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def qr_image(text: str) -> bytes:
    """Return a QR code as an SVG file."""
    image = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(image, kind="svg", border=3, dark="black", light="white", omitsize=True)
    return image.getvalue()


def qr_svg(text: str) -> str:
    """Return a QR code as an SVG element."""
    code = segno.make(text, error="m", micro=False)
    return str(code.svg_inline(border=2, dark="black", svgclass="qr", lineclass=None, omitsize=True))
