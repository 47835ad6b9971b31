"""Tells the car's name on the network by mDNS, so that `https://blue.local:8080/` leads to it.

By `zeroconf`, which needs neither rights nor a daemon and gets on with one that runs: avahi announces the
computer's own name, and another only by files of root's.
"""

import contextlib
import ipaddress
import logging
import re
import threading
from collections.abc import Callable, Sequence

from zeroconf import Error, InterfaceChoice, ServiceInfo, Zeroconf

log = logging.getLogger("webui")

LOOK_S = 10.0  # a car joins another network while its page is up
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
        interfaces: InterfaceChoice | Sequence[str] = InterfaceChoice.Default,
    ) -> None:
        self.host = f"{host_label(name)}.local"
        kind = "_https._tcp.local." if is_secure else "_http._tcp.local."
        self._service = f"{name.replace('.', ' ')[:LONGEST_LABEL]}.{kind}", kind
        self._port = port
        self._addresses = addresses
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
            if addresses != announced:
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
            radio.register_service(info, allow_name_change=True)
        except (OSError, Error) as error:
            log.warning("the car's name cannot be told on the network: %s", error)
            _end(radio)
            return None
        return radio


def _of_networks(addresses: frozenset[str]) -> frozenset[str]:
    """Return those that another computer could reach, of IPv4: what phones ask mDNS for."""
    found = (ipaddress.ip_address(each) for each in addresses)
    return frozenset(str(each) for each in found if each.version == 4 and not each.is_unspecified)


def _end(radio: Zeroconf | None) -> None:
    if radio is not None:
        with contextlib.suppress(OSError, Error):
            radio.close()
