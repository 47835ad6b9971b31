"""Tells the car's name on the network by mDNS, so that `https://blue.local:8080/` leads to it.

By `zeroconf`, which needs neither rights nor a daemon and gets on with one that runs: avahi announces the
computer's own name, and another only by files of root's.

Two cars of one name would share its address, and a stop pressed on the page of one could reach the other: who
finds the name answered for does not take it (RFC 6762, 8.1), and of two that took it at once the one with the
greater address gives it back (9).
"""

import contextlib
import ipaddress
import logging
import re
import threading
from collections.abc import Callable, Sequence

from zeroconf import (  # type: ignore[attr-defined]  # the resolver is public, though not in its __all__
    AddressResolverIPv4,
    Error,
    InterfaceChoice,
    ServiceInfo,
    Zeroconf,
)

log = logging.getLogger("webui")

LOOK_S = 10.0  # a car joins another network while its page is up
PROBE_MS = 2000  # who has just answered somebody is silent for a second (RFC 6762, 6), then is asked again
LONGEST_LABEL = 63


def host_label(name: str) -> str:
    """Return a car's name as it may stand in an address: `Blue No. 2` is `blue-no-2`."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_LABEL].strip("-")
    return label or "lapwing"


class Announcer:
    """Announces one page until closed; a background thread follows the computer's addresses."""

    def __init__(
        self,
        name: str,
        port: int,
        *,
        is_secure: bool,
        addresses: Callable[[], frozenset[str]],
        tell_taken: Callable[[str, str], None],
        interfaces: InterfaceChoice | Sequence[str] = InterfaceChoice.Default,
    ) -> None:
        """Announce `name`; `tell_taken(host, address)` hears which other device has it, "" when none does."""
        self.host = f"{host_label(name)}.local"
        kind = "_https._tcp.local." if is_secure else "_http._tcp.local."
        self._service = f"{name.replace('.', ' ')[:LONGEST_LABEL]}.{kind}", kind
        self._port = port
        self._addresses = addresses
        self._tell_taken = tell_taken
        self._taken_by = ""
        self._interfaces = interfaces
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="announcer", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. Without a network it is tried again."""
        self._thread.start()

    def close(self) -> None:
        """Take the announcement back."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        announced: frozenset[str] = frozenset()
        radio: Zeroconf | None = None
        while True:
            addresses = _of_networks(self._addresses())
            if addresses != announced or (radio is not None and self._must_yield(radio, addresses)):
                _end(radio)
                radio = self._announce(addresses) if addresses else None
                announced = addresses if radio is not None else frozenset()
            if self._closing.wait(LOOK_S):
                break
        _end(radio)

    def _announce(self, addresses: frozenset[str]) -> Zeroconf | None:
        service, kind = self._service
        packed = [ipaddress.ip_address(each).packed for each in sorted(addresses)]
        info = ServiceInfo(kind, service, port=self._port, server=f"{self.host}.", addresses=packed)
        radio: Zeroconf | None = None
        try:
            radio = Zeroconf(interfaces=self._interfaces)
            if self._others(radio, addresses):
                _end(radio)
                return None
            radio.register_service(info, allow_name_change=True)
        except (OSError, Error) as error:
            log.warning("the car's name cannot be told on the network: %s", error)
            _end(radio)
            return None
        return radio

    def _must_yield(self, radio: Zeroconf, addresses: frozenset[str]) -> bool:
        """Whether another device took the name at the same moment, and it is ours to give it back."""
        others = self._others(radio, addresses)
        return bool(others) and min(others) < min(map(ipaddress.IPv4Address, addresses))

    def _others(self, radio: Zeroconf, addresses: frozenset[str]) -> list[ipaddress.IPv4Address]:
        """Return the addresses of other devices that answer to our name."""
        asked = AddressResolverIPv4(f"{self.host}.")
        asked.request(radio, PROBE_MS)
        found = [ipaddress.IPv4Address(each) for each in asked.parsed_addresses()]
        others = sorted(each for each in found if str(each) not in addresses)
        taken_by = ", ".join(map(str, others))
        if taken_by != self._taken_by:
            self._taken_by = taken_by
            self._tell_taken(self.host, taken_by)
            if taken_by:
                log.warning("%s is the name of another device, at %s", self.host, taken_by)
        return others


def _of_networks(addresses: frozenset[str]) -> frozenset[str]:
    """Return those that another computer could reach, of IPv4: what phones ask mDNS for."""
    found = (ipaddress.ip_address(each) for each in addresses)
    return frozenset(
        str(each) for each in found if each.version == 4 and not (each.is_unspecified or each.is_loopback)
    )


def _end(radio: Zeroconf | None) -> None:
    if radio is not None:
        with contextlib.suppress(OSError, Error):
            radio.close()
