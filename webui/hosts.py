"""The names and addresses by which this car is called; whoever calls it by another is misled."""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable

import ifaddr

LOOKED_UP_EVERY_S = 2.0  # an address changes when the car joins a network, while the page is up
LABELS = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+?)\.?(:\d{1,5})?", re.IGNORECASE)


def own_addresses() -> frozenset[str]:
    """Return every address of this computer, IPv6 without its zone."""
    found: set[str] = set()
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            found.add(each.ip if isinstance(each.ip, str) else each.ip[0])
    return frozenset(str(ipaddress.ip_address(address.partition("%")[0])) for address in found)


def own_names() -> frozenset[str]:
    """Return this computer's name, bare and as mDNS tells it."""
    full = socket.gethostname().lower().rstrip(".")
    bare = full.partition(".")[0]
    return frozenset(name for name in (full, bare, f"{bare}.local") if LABELS.fullmatch(name))


def is_loopback(host: str) -> bool:
    """Whether a Host header names the computer that the browser runs on."""
    match = HOST.fullmatch(host)
    if match is None:
        return False
    try:
        return ipaddress.ip_address(match["name"].strip("[]")).is_loopback
    except ValueError:
        return match["name"].lower() == "localhost"


class Hosts:
    """What may stand in a Host header. Safe in any thread."""

    def __init__(
        self,
        names: Iterable[str] = (),
        addresses: Callable[[], frozenset[str]] = own_addresses,
        *,
        loopback_only: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow loopback, and unless that is all, this computer's names, its addresses and `names`."""
        self.loopback_only = loopback_only
        self._given = frozenset(name.lower().rstrip(".") for name in names)
        self._look_up = addresses
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._addresses: frozenset[str] = frozenset()
        self._looked_up_s = float("-inf")
        self._taken: dict[str, str] = {}

    def names(self) -> frozenset[str]:
        """Return the names beside `localhost`."""
        return self._given if self.loopback_only else self._given | own_names()

    def addresses(self) -> frozenset[str]:
        """Return the addresses, at most two seconds old."""
        if self.loopback_only:
            return frozenset()
        with self._lock:
            now_s = self._clock_s()
            if now_s - self._looked_up_s >= LOOKED_UP_EVERY_S:
                self._addresses, self._looked_up_s = self._look_up(), now_s
            return self._addresses

    def note_taken(self, name: str, by: str) -> None:
        """Note that the device at address `by` answers to this name too; "" when none does any more."""
        self._taken = {name: by} if by else {}

    @property
    def taken(self) -> dict[str, str]:
        """The names of this car that lead to another device, each with that device's address."""
        return self._taken

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this server."""
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower()
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name == "localhost" or name in self.names()
        return address.is_loopback or str(address) in self.addresses()

    def in_words(self) -> str:
        """Return what is allowed, for a sentence."""
        return ", ".join(["localhost", *sorted(self.names()), *sorted(self.addresses())])
